"""The locked environments: what pip may install."""

import lock_hashes


def test_hashes_are_written_into_a_lock_and_again_into_it_and_its_comments_stay():
    lock = "# made by a program\nfirst==1.0\n    # via -r a.in\nsecond-part==2.0.post1\n"
    hashed = "first==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nsecond-part==2.0.post1 \\\n    --hash=sha256:cc\n"
    assert lock_hashes.pins(lock) == ["first==1.0", "second-part==2.0.post1"]
    once = lock_hashes.with_hashes(lock, hashed)
    assert once == (
        "# made by a program\nfirst==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via -r a.in\n"
        "second-part==2.0.post1 \\\n    --hash=sha256:cc\n"
    )
    assert lock_hashes.with_hashes(once, hashed) == once
