"""Archives as somebody could have written them, member by member."""

import io
import tarfile


def member(name, content=b"", **attributes):
    """Return a member and its content; a type, a mode or whatever else TarInfo knows by its name there."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)


def folder(name, **attributes):
    return member(name, type=tarfile.DIRTYPE, **attributes)


def link(name, target):
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name, target):
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def packed(members, **options):
    """Return the bytes of an archive."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", **options) as tar:
        for info, content in members:
            tar.addfile(info, content)
    return whole.getvalue()
