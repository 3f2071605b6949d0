"""What every command needs: command line, text, CSV, seeding, pages, Google Cloud Storage client; no Beam."""
