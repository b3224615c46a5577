"""A notebook run by nbclient: `python execute.py <notebook> <where to write it>`. Run by `npm run test:kernel`."""

import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=120, kernel_name="drey").execute()
nbformat.validate(notebook)
nbformat.write(notebook, sys.argv[2])
