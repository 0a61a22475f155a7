"""What a run is: its configuration, conditions, files, sizes, and what each job asks for."""
