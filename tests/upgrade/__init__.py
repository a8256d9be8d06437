"""Data directories of earlier versions, which every later version must start on and answer the same from."""
