"""Reading and writing files and folders: atomic writes, local and object storage, resumable output folders."""
