//! Hooks, probes and commands beside a running container.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::lifecycle::{Event, Hook, Place, ProbeKind, ProbeOutcome};
use model::probe::Handler;
use model::runtime::{ExecSpec, Exit, InstanceId, PodId, Runtime, RuntimeError};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::{Bond, Message, Reply, Worker};
use crate::exec::{self, Exec, ExecError, ExecRequest, Finished};
use crate::probe::{self, Target};

/// How long a port-forward waits for its connection.
const CONNECT: Duration = Duration::from_secs(30);

impl Worker {
    /// Runs a hook, which takes as long as it takes: the lifecycle gives it up in time.
    pub(super) fn run_hook(&mut self, place: Place, instance: InstanceId, hook: Hook) {
        let pod = Arc::clone(&self.pod);
        let Some(container) = place.of(&pod) else {
            return;
        };
        let handler = match hook {
            Hook::PostStart => container.post_start.clone(),
            Hook::PreStop => container.pre_stop.clone(),
        };
        let Some(handler) = handler else { return };
        let (target, command) = (self.target(), self.command(&handler, instance));
        self.orders.give(Bond::Instance(instance), async move {
            let result = match (&handler, command) {
                (Handler::Sleep(time), _) => {
                    tokio::time::sleep(*time).await;
                    Ok(())
                }
                (Handler::Exec(words), Some(command)) => exec_hook(words, command.await),
                _ => match place.of(&pod) {
                    Some(container) => probe::reach(&handler, container, &target).await,
                    None => Ok(()),
                },
            };
            Message::lifecycle(Event::Hooked {
                instance,
                hook,
                result,
            })
        });
    }

    /// Asks a probe.
    pub(super) fn probe(&mut self, place: Place, instance: InstanceId, kind: ProbeKind) {
        let pod = Arc::clone(&self.pod);
        let Some(probe) = place.of(&pod).and_then(|container| kind.of(container)) else {
            return;
        };
        let (probe, target) = (probe.clone(), self.target());
        let command = self.command(&probe.handler, instance);
        self.orders.give(Bond::Instance(instance), async move {
            let outcome = match (&probe.handler, command, place.of(&pod)) {
                (Handler::Exec(words), Some(command), _) => {
                    let finished = tokio::time::timeout(probe.timeout, command).await;
                    exec_probe(words, probe.timeout, finished.ok())
                }
                (handler, _, Some(container)) => {
                    probe::ask(handler, container, &target, probe.timeout).await
                }
                _ => ProbeOutcome::Error("no such container".to_owned()),
            };
            Message::lifecycle(Event::Probed {
                instance,
                kind,
                outcome,
            })
        });
    }

    /// Runs a command for whoever asked. It begins even if they leave, and ends then.
    pub(super) fn exec(&mut self, request: ExecRequest, reply: Reply<Exec>) {
        let container = request.container.as_deref();
        let first = self.pod.containers.first().map(|first| first.name.as_str());
        let target = container.or(first).and_then(|name| self.running(name));
        let Some(target) = target else {
            // Whoever asked is gone: they need no answer.
            let _ = reply.send(Err(self.not_running(container)));
            return;
        };
        let spec = ExecSpec {
            id: self.state.next_instance(),
            target,
            command: request.command,
            stdin: request.stdin,
            tty: request.tty,
        };
        self.begin(spec, reply);
    }

    pub(super) fn input(&mut self, input: (String, Option<Bytes>), reply: Reply<()>) {
        let (container, chunk) = input;
        let Some(instance) = self.running(&container) else {
            // Whoever asked is gone: they need no answer.
            let _ = reply.send(Err(self.not_running(Some(&container))));
            return;
        };
        let runtime = Arc::clone(&self.shared.runtime);
        self.orders.give(Bond::Instance(instance), async move {
            let taken = runtime.input(instance, chunk).await;
            // As above.
            let _ = reply.send(taken.map_err(ExecError::Runtime));
            Message::Done(None)
        });
    }

    pub(super) fn connect(&mut self, port: u16, reply: Reply<UnixStream>) {
        let (runtime, pod) = (Arc::clone(&self.shared.runtime), self.id);
        self.orders.give(Bond::Pod, async move {
            // Whoever asked is gone: the connection closes.
            let _ = reply.send(connect(runtime.as_ref(), pod, port).await);
            Message::Done(None)
        });
    }

    fn running(&self, container: &str) -> Option<InstanceId> {
        let inits = (0..self.pod.init_containers.len()).map(Place::Init);
        let mains = (0..self.pod.containers.len()).map(Place::Main);
        let named = |place: &Place| place.of(&self.pod).is_some_and(|c| c.name == container);
        self.state.instance(inits.chain(mains).find(named)?)
    }

    fn not_running(&self, container: Option<&str>) -> ExecError {
        let pod = self.identity.key();
        ExecError::NotRunning(match container {
            Some(name) => format!("container {name:?} of pod {pod} is not running"),
            None => format!("pod {pod} has no running container"),
        })
    }

    fn target(&self) -> Target {
        Target {
            runtime: Arc::clone(&self.shared.runtime),
            pod: self.id,
            addresses: self.addresses().to_vec(),
            host_network: self.pod.host_network,
        }
    }

    /// Begins the command of an exec handler; how it ends and the first of its output are to be
    /// awaited. Whoever stops waiting ends the command, not its beginning: that may be compiling
    /// what the next one needs.
    fn command(
        &mut self,
        handler: &Handler,
        target: InstanceId,
    ) -> Option<impl Future<Output = Result<Finished, RuntimeError>> + Send + use<>> {
        let Handler::Exec(words) = handler else {
            return None;
        };
        let spec = ExecSpec {
            id: self.state.next_instance(),
            target,
            command: words.clone(),
            stdin: false,
            tty: false,
        };
        let (begun, exec) = oneshot::channel();
        self.begin(spec, begun);
        Some(async move {
            match exec.await {
                Ok(Ok(exec)) => Ok(exec.finished().await),
                Ok(Err(ExecError::Runtime(error))) => Err(error),
                Ok(Err(ExecError::NotRunning(why))) => Err(RuntimeError::NotFound(why)),
                Err(_) => Err(RuntimeError::Gone("the pod is over".to_owned())),
            }
        })
    }

    /// Begins a command for someone who waits for it; if they do not any more, it is ended.
    fn begin(&mut self, spec: ExecSpec, begun: Reply<Exec>) {
        let (shared, queue) = (Arc::clone(&self.shared), self.queue.clone());
        self.orders.give(Bond::Pod, async move {
            let exec = exec::start(&shared.runtime, &shared.router, queue, spec).await;
            // Dropping the command ends it.
            let _ = begun.send(exec.map_err(ExecError::Runtime));
            Message::Done(None)
        });
    }
}

fn exec_hook(words: &[String], ended: Result<Finished, RuntimeError>) -> Result<(), String> {
    let (error, output) = match ended {
        Ok(finished) if finished.exit.code == 0 => return Ok(()),
        Ok(finished) => {
            let Exit { code, message, .. } = &finished.exit;
            let why = if message.is_empty() { "" } else { ": " };
            (
                format!("command exited with {code}{why}{message}"),
                finished.output,
            )
        }
        Err(error) => (error.to_string(), String::new()),
    };
    Err(format!(
        "Exec lifecycle hook ({}) failed - error: {error}, message: {output:?}",
        words.join(" ")
    ))
}

/// What a command that failed has printed, and what ended it where it did not end by itself.
fn failed_command(finished: Finished) -> String {
    let (mut told, exit) = (finished.output, finished.exit);
    if !exit.message.is_empty() {
        if !told.is_empty() && !told.ends_with('\n') {
            told.push('\n');
        }
        told.push_str(&format!("{}: {}", exit.reason, exit.message));
    }
    told
}

/// What a command says of its container; nothing if it did not end in time.
fn exec_probe(
    words: &[String],
    timeout: Duration,
    ended: Option<Result<Finished, RuntimeError>>,
) -> ProbeOutcome {
    match ended {
        Some(Ok(finished)) if finished.exit.code == 0 => ProbeOutcome::Success,
        Some(Ok(finished)) => ProbeOutcome::Failure(failed_command(finished)),
        // Exit code 127, as a shell says it.
        Some(Err(error @ RuntimeError::CommandNotFound(_))) => {
            ProbeOutcome::Failure(error.to_string())
        }
        Some(Err(error)) => ProbeOutcome::Error(error.to_string()),
        None => ProbeOutcome::Failure(format!(
            "command timed out: \"{}\" timed out after {}s",
            words.join(" "),
            timeout.as_secs()
        )),
    }
}

async fn connect(runtime: &dyn Runtime, pod: PodId, port: u16) -> Result<UnixStream, ExecError> {
    let connection = runtime.connect(pod, port, CONNECT).await?;
    let broken = |error: std::io::Error| ExecError::Runtime(RuntimeError::Gone(error.to_string()));
    let stream = std::os::unix::net::UnixStream::from(connection.0);
    stream.set_nonblocking(true).map_err(broken)?;
    UnixStream::from_std(stream).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_says_what_its_command_printed_and_what_ended_it() {
        let oom = "the container asked for too much";
        for (output, message, told) in [
            ("not yet\n", "", "not yet\n"),
            ("", "", ""),
            ("", oom, "OOMKilled: the container asked for too much"),
            (
                "half",
                oom,
                "half\nOOMKilled: the container asked for too much",
            ),
        ] {
            let exit = Exit {
                code: 137,
                reason: "OOMKilled".to_owned(),
                message: message.to_owned(),
            };
            let finished = Finished {
                exit,
                output: output.to_owned(),
            };
            assert_eq!(failed_command(finished), told);
        }
    }
}
