"""Groups of tests on several processes, of which one may crash: ``pytest -p tests.rig.groups --dist loadgroup``.

By xdist's own scheduler, the test that has crashed a process is run by the next one, too; and where nothing but it is
left, the run does not end: a process begins its last test when it is told that there is no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadGroupScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController


class Groups(LoadGroupScheduling):
    """Runs a test once, whatever comes of its process."""

    def remove_node(self, node: WorkerController) -> str | None:
        """Give back what a process has not run, but for the test that it was running, which is returned."""
        units = self.assigned_work.pop(node)
        left = [test for unit in units.values() for test, is_done in unit.items() if not is_done]
        for unit in units.values():
            if left and left[0] in unit:
                unit[left[0]] = True
        self.workqueue.update({scope: unit for scope, unit in units.items() if not all(unit.values())})
        if left:
            for other in self.nodes:
                self._reschedule(other)
        return left[0] if left else None

    def _reschedule(self, node: WorkerController) -> None:
        super()._reschedule(node)
        if not self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            node.shutdown()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """Take it where groups are asked for."""
    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None
