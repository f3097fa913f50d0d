"""The packages in examples/, installed and used."""
