"""From what is seen of the folder to what a page shows. Pure but for what is read of one location."""
