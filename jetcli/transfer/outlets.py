"""Where an accepted file goes: a name in a directory, a new directory that it is unpacked into, or standard output."""

from pathlib import Path

from jetcli.files.archive import is_archive, unpack
from jetcli.files.pipe import HeldBackOutput, PipeOutput
from jetcli.files.sink import Output, Sink, free_bytes
from jetcli.transfer.admission import Admitted
from jetcli.transfer.options import OnExist, ReceiveOptions

STDOUT = 1


class _ArchiveSink(Sink):
    """A part that is unpacked once it is verified."""

    def publish(self, mtime: float | None = None) -> Path:
        """Give the archive its name, then unpack it and remove it; return the directory."""
        saved = super().publish(mtime)
        self.resumable = False  # nothing is missing any more, whatever becomes of the archive
        return unpack(saved, most=free_bytes(saved.parent))


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
    kind = _ArchiveSink if options.extract and is_archive(name) else Sink
    return kind.create(
        admitted.directory,
        name,
        transfer_id,
        size=admitted.size,
        on_exist=on_exist,
        output=options.output is not None,
    )
