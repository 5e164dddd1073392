"""``python -m spotify_ml.compare``, under its earlier name."""

from spotify_ml.compare import main

if __name__ == "__main__":
    main()
