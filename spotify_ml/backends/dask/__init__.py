"""A run on a Dask cluster: the same rows, split and features as in one process, by many."""
