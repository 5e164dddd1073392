"""Commands: composed by Hydra, checked before anything is read, answered by one error."""
