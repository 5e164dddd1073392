"""A run on a Dask cluster, with the same rows, split and features as in one process."""
