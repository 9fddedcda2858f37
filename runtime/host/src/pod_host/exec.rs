//! A command in a running container: an instance of its own, with the container's files and account.

use std::sync::{Arc, OnceLock};

use model::runtime::{ExecSpec, InstanceSpec, RuntimeError};
use tokio::sync::Notify;

use super::Inner;
use crate::exec::{self, Command};
use crate::pod::Run;

// === impl Inner ===

impl Inner {
    pub(super) async fn exec(&self, exec: ExecSpec) -> Result<(), RuntimeError> {
        let pod = self.owner(exec.target)?;
        let target = pod.run(exec.target)?;
        // Owned from now on: whoever gives it up while it is looked for has it given up.
        self.own(exec.id, Arc::clone(&pod));
        let found = self.command(&exec, &target).await;
        if self.owner(exec.id).is_err() || self.pod(pod.id).is_err() {
            self.disown(exec.id);
            return Err(RuntimeError::NotFound(
                "the command was given up".to_owned(),
            ));
        }
        let (image, args) = found.inspect_err(|_| drop(self.disown(exec.id)))?;
        let spec = InstanceSpec {
            id: exec.id,
            args,
            stdin: exec.stdin,
            tty: exec.tty,
            ports: Vec::new(),
            ..target.spec.clone()
        };
        let run = Run {
            spec,
            image,
            account: Arc::clone(&target.account),
            files: target.files.clone(),
            owns_files: false,
            instance: OnceLock::new(),
            listens: Notify::new(),
        };
        pod.add(run).inspect_err(|_| drop(self.disown(exec.id)))?;
        self.start(exec.id).inspect_err(|_| {
            // Given up in the meantime: nobody else knows of it.
            self.disown(exec.id);
            pod.forget(exec.id);
        })
    }

    /// What a command runs, and with which argv.
    async fn command(
        &self,
        exec: &ExecSpec,
        target: &Run,
    ) -> Result<(Arc<engine::Image>, Vec<String>), RuntimeError> {
        let command = exec::find(&exec.command, target, self.compiler.as_ref()).await?;
        Ok(match command {
            Command::Own(args) if target.image.is_server() => {
                return Err(RuntimeError::CannotRun(format!(
                    "{}: the container is an http server, which is called for requests and cannot be run; exec runs wasm files of its mounts and commands of the toolbox",
                    args.first().map_or("", String::as_str)
                )));
            }
            Command::Own(args) => (Arc::clone(&target.image), args),
            Command::File(image, args) => {
                (self.image(&image).map_err(RuntimeError::CannotRun)?, args)
            }
            Command::Toolbox(args) => {
                let image = self.toolbox(&args).await?;
                (self.image(&image).map_err(RuntimeError::CannotRun)?, args)
            }
        })
    }
}
