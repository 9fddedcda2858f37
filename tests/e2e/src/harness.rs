//! What an outsider has: the built program, a shell's powers over processes, files and sockets.
//!
//! Tests wait for what the program says, never for time to pass. A wait that is not met within
//! [`PATIENCE`] fails with everything that was said until then.

use std::time::Duration;

mod alone;
mod fetch;
mod image;
mod pod;
mod programs;
mod registry;
mod run;
mod said;
mod skip;

pub(crate) use fetch::{fetch, is_refused};
pub(crate) use image::Images;
pub(crate) use pod::{Pod, pods};
pub(crate) use programs::{guest, large, root, wasmpod, why_not_built};
pub(crate) use registry::{Fault, Registry, USER, docker_config};
pub(crate) use run::{Ended, Run, Running};
pub(crate) use said::{Line, Said};
pub(crate) use skip::{as_root_in_own_namespace, has_c_compiler, skip};

/// Where pod hosts can be, as the hidden flag `--placement` spells it: a task, one child process,
/// one for each pod.
pub(crate) const PLACEMENTS: [&str; 3] = ["task", "child", "child-per-pod"];

/// How long a test waits for something that must come. It is no promise of speed: two cores that
/// compile guests for several tests at once, interpreters among them, take their time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
