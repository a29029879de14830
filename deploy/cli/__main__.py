"""`python -m deploy.cli` is `tallygate`."""

from deploy.cli import main

if __name__ == "__main__":
    main()
