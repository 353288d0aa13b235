"""Explain a whole archive, each image once, in one process or several; a stopped run can be resumed."""
