"""Super-resolution by regularised latent search (Gheisari & Genovesio 2024)."""

__version__ = "0.2.0"
