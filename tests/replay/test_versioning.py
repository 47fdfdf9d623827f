"""A pinned mirror ends with the code it began with; a mirror that upgrades needs the patch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from tests.replay.mirror_stage import MirrorStage
from tests.replay.stage import temporal
from tests.support.fakes.sagas import FakeOrderService
from tests.support.waiting import eventually
from workflows import worker
from workflows.naming import MIRROR_TASK_QUEUE

DEPLOYMENT = "saga-worker"


def versioned_worker(client: Client, mirror: type[Any], build: str, behaviour: VersioningBehavior) -> Worker:
    return Worker(
        client,
        task_queue=MIRROR_TASK_QUEUE,
        workflows=[mirror],
        workflow_runner=worker.runner(),
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=build),
            use_worker_versioning=True,
            default_versioning_behavior=behaviour,
        ),
    )


async def make_current(client: Client, build: str) -> None:
    """Send new runs, and old ones that upgrade, to this version from now on."""
    service, namespace = client.workflow_service, client.namespace
    make = SetWorkerDeploymentCurrentVersionRequest(namespace=namespace, deployment_name=DEPLOYMENT, build_id=build)
    look = DescribeWorkerDeploymentRequest(namespace=namespace, deployment_name=DEPLOYMENT)

    async def known() -> bool:
        try:
            await service.set_worker_deployment_current_version(make)
        except RPCError:
            return False  # its worker has not asked for work yet
        return True

    async def heeded() -> bool:
        described = await service.describe_worker_deployment(look)
        state = described.worker_deployment_info.routing_config_update_state
        return state == RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_COMPLETED

    await eventually(known, f"version {build} is current")
    await eventually(heeded, f"all task queues know that version {build} is current")


async def versions(stage: MirrorStage) -> list[str]:
    """The build that worked on each task of a mirror."""
    events = (await stage.saga.fetch_history()).events
    tasks = [event.workflow_task_completed_event_attributes for event in events]
    return [task.deployment_version.build_id for task in tasks if task.started_event_id]


@pytest.mark.parametrize(
    ("behaviour", "second", "old_ends_with"),
    [
        # One edit, without a patch where no version carries on what another one began, and with a patch elsewhere.
        (VersioningBehavior.PINNED, "after", "1"),
        (VersioningBehavior.AUTO_UPGRADE, "patched", "2"),
    ],
    ids=["pinned", "upgraded"],
)
def test_a_mirror_under_way_ends_with_the_version_that_its_behaviour_says(
    behaviour: VersioningBehavior, second: str, old_ends_with: str, mirrors: Mapping[str, type[Any]]
) -> None:
    async def end(stage: MirrorStage) -> list[str]:
        await stage.signal(stage.story.created, stage.story.approved, stage.story.cancelled)
        await stage.asked()
        await stage.tell(stage.story.refunded)
        await stage.saga.result()
        return await versions(stage)

    async def run() -> None:
        async with (
            temporal() as client,
            FakeOrderService().worker(client),
            versioned_worker(client, mirrors["before"], "1", behaviour),
            versioned_worker(client, mirrors[second], "2", behaviour),
        ):
            old, new = MirrorStage(client, "old"), MirrorStage(client, "new")
            old.story, new.story = old.begun(ago=3600), new.begun(ago=3600)
            await make_current(client, "1")
            await old.tell(old.story.created, old.story.approved)
            await make_current(client, "2")
            first, *others = await end(old)
            assert (first, set(others)) == ("1", {old_ends_with})
            assert set(await end(new)) == {"2"}

    asyncio.run(run())
