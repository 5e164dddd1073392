"""``python -m spotify_ml.profile``, under its earlier name."""

from spotify_ml.profile import main

if __name__ == "__main__":
    main()
