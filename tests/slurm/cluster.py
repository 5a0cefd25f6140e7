"""A SLURM of one node on the loopback, with folders and keys of its own, started and stopped by this process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sinfo", "squeue", "scancel")

SYSTEM_CONFIGURATION = Path("/etc/slurm/slurm.conf")
"""Where every SLURM command looks; job steps lose SLURM_CONF. A link stands there while the test runs."""

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """Munge, slurmctld and slurmd of a test; use it as a context.

    Parameters
    ----------
    folder : for keys, sockets, logs and state; its path must be short (sockets)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.munge: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cluster:
        """Start the three daemons and wait until the node is idle."""
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            sys.exit(
                f"this test needs root and the packages slurm-wlm and munge; missing: {', '.join(missing) or 'root'}"
            )
        if SYSTEM_CONFIGURATION.exists():
            sys.exit(f"{SYSTEM_CONFIGURATION} is there: this host has a SLURM of its own, which this test leaves alone")
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            folder=self.folder,
            cores=os.cpu_count(),
            memory=int(0.9 * memory),
            port=_free_port(),
            node_port=_free_port(),
        )
        (self.folder / "slurm.conf").write_text(text)
        try:
            SYSTEM_CONFIGURATION.parent.mkdir(exist_ok=True)
            SYSTEM_CONFIGURATION.unlink(missing_ok=True)  # a dangling link of a run that was killed
            SYSTEM_CONFIGURATION.symlink_to(self.folder / "slurm.conf")
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        folder = self.folder
        subprocess.run(["mungekey", "--create", f"--keyfile={folder}/munge.key"], check=True)
        command = [
            "munged",
            "--foreground",
            "--force",
            f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key",
        ]
        command += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/seed"]
        self.munge = subprocess.Popen(command)
        self._wait(lambda: (folder / "munge.socket").exists(), "munged makes no socket")
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon], check=True)
        self._wait(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), "the node does not become idle")

    def _wait(self, condition, complaint: str, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = "\n".join(path.read_text()[-1500:] for path in self.folder.glob("*.log"))
                raise RuntimeError(f"{complaint} within {seconds:.0f} s\n{logs}")
            time.sleep(0.5)

    def ask(self, *command: str) -> str:
        """Return what a SLURM command prints."""
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def __exit__(self, *_: object) -> None:
        """Cancel what still runs, then stop the daemons by the pid files they wrote."""
        self.ask("scancel", "--user=root")
        for daemon in ("slurmd", "slurmctld"):
            path = self.folder / f"{daemon}.pid"
            if path.exists():
                _stop(int(path.read_text()))
        if self.munge is not None:
            self.munge.terminate()
            self.munge.wait(20)
        SYSTEM_CONFIGURATION.unlink(missing_ok=True)


def _stop(pid: int, seconds: float = 30.0) -> None:
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
