"""Read and write files and folders: atomic writes, local and object storage, resumable output folders."""
