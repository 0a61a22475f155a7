"""The generators that come with the program: their list, and how they are trained anew."""
