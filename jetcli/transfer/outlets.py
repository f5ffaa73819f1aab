"""Where an accepted file goes: a name in a directory, a new directory that it is unpacked into, or standard output."""

from pathlib import Path

from jetcli.files.archive import is_archive, unpack
from jetcli.files.pipe import HeldBackOutput, PipeOutput
from jetcli.files.sink import Output, Sink
from jetcli.files.space import free_bytes
from jetcli.transfer.admission import Admitted
from jetcli.transfer.options import OnExist, ReceiveOptions

STDOUT = 1


class _ArchiveSink(Sink):
    """A part that is unpacked once it is verified."""

    def publish(self, mtime: float | None = None) -> Path:
        """Give the archive its name, then unpack it and remove it; return the directory."""
        saved = super().publish(mtime)
        self.resumable = False  # nothing is missing any more, whatever becomes of the archive
        return unpacked(saved)


def unpacked(archive: Path) -> Path:
    """Unpack a saved archive and remove it; return the directory. Raises as `jetcli.files.archive.unpack` does."""
    return unpack(archive, most=free_bytes(archive.parent))


def unpacks(name: str, *, extract: bool) -> bool:
    """Say whether a file of that name is unpacked where the user wants that of archives (`extract`)."""
    return extract and is_archive(name)


def part_kind(name: str, *, extract: bool) -> type[Sink]:
    """Return what makes and reopens the part of a file of that name."""
    return _ArchiveSink if unpacks(name, extract=extract) else Sink


def outlet(options: ReceiveOptions, admitted: Admitted, transfer_id: str, name: str, on_exist: OnExist) -> Output:
    """Return where the bytes of an agreed offer go; raises LocalFileError where that cannot be."""
    if options.stdout:
        pipe = PipeOutput(STDOUT)
        # Under a plain cipher nothing is verified before the end.
        if admitted.between_jets or options.unverified_stdout:
            return pipe
        try:
            return HeldBackOutput(pipe, admitted.size)
        except BaseException:
            pipe.discard()
            raise
    return part_kind(name, extract=options.extract).create(
        admitted.directory,
        name,
        transfer_id,
        size=admitted.size,
        on_exist=on_exist,
        output=options.output is not None,
    )
