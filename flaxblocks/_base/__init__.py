"""What every part uses: argument checks, the cache folder, replacing of files, memory."""
