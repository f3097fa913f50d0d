"""The timing model held against what has been published about the Warboy."""
