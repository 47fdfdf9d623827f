"""What several test modules share: servers, worlds, fakes and messages."""
