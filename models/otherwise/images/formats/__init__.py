"""One file format a file. Readers raise whatever their library raises; ``reading`` turns it into one line."""
