"""Files of open flows, one format a module."""
