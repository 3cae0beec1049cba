import contextlib
import io

from mmengine.runner import Runner


class QuietRunner(Runner):
    """MMEngine's runner, which keeps its notice of the file it loads off the screen.

    The notice is printed, by every process, where all else goes to the log.
    """

    def load_or_resume(self) -> None:
        """Load or resume in silence; the screen is given back whatever happens."""
        with contextlib.redirect_stdout(io.StringIO()):
            super().load_or_resume()
