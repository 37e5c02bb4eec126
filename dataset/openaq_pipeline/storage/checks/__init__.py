"""Looking for what is wrong with the files of a data folder. Reads every byte, and changes nothing.

One module for each kind of file: `live` (`location_{id}.json`), `year` (Parquet), `notes` (the small JSON files),
`boundary` (history and location file together), `layout` (names), `remembered` (the state). Imports pyarrow.
"""
