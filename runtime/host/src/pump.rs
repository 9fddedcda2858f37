//! From the engine's reports to the receiver of events, in order for each instance.
//!
//! A receiver that is slow for one instance holds that instance's reports back, and no other's:
//! what cannot be delivered at once waits in a queue of its own, bounded by the room that the
//! engine gives each instance's output.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use engine::{Chunk, Report};
use model::runtime::{Event, EventSink, InstanceId};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

/// The reports of instances whose receiver is slow.
struct Pump {
    sink: Arc<dyn EventSink>,
    held: HashMap<InstanceId, VecDeque<Report>>,
    deliveries: JoinSet<InstanceId>,
}

type Delivery = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Forwards reports until the engine is gone.
pub(crate) async fn run(mut reports: UnboundedReceiver<Report>, sink: Arc<dyn EventSink>) {
    let mut pump = Pump {
        sink,
        held: HashMap::new(),
        deliveries: JoinSet::new(),
    };
    loop {
        tokio::select! {
            report = reports.recv() => match report {
                Some(report) => pump.take(report).await,
                None => return,
            },
            Some(Ok(instance)) = pump.deliveries.join_next() => pump.release(instance).await,
        }
    }
}

// === impl Pump ===

impl Pump {
    async fn take(&mut self, report: Report) {
        let instance = instance_of(&report);
        match self.held.get_mut(&instance) {
            Some(held) => held.push_back(report),
            None => self.deliver(instance, report).await,
        }
    }

    /// Delivers now, or begins to hold this instance's reports back.
    async fn deliver(&mut self, instance: InstanceId, report: Report) {
        let chunk = match report {
            Report::Output(chunk) => chunk,
            Report::Health {
                instance,
                ready,
                message,
            } => {
                self.sink.event_now(Event::Health {
                    instance,
                    ready,
                    message,
                });
                return;
            }
            Report::Ended {
                instance,
                exit,
                stats,
            } => {
                self.sink.event_now(Event::Exited {
                    instance,
                    exit,
                    stats,
                });
                return;
            }
        };
        let mut delivery = delivery(Arc::clone(&self.sink), chunk);
        let delivered = poll_fn(|cx| Poll::Ready(delivery.as_mut().poll(cx).is_ready())).await;
        if !delivered {
            self.held.entry(instance).or_default();
            self.deliveries.spawn(async move {
                delivery.await;
                instance
            });
        }
    }

    /// Goes on with what was held back, until the receiver is slow again.
    async fn release(&mut self, instance: InstanceId) {
        let Some(mut held) = self.held.remove(&instance) else {
            return;
        };
        while let Some(report) = held.pop_front() {
            self.deliver(instance, report).await;
            if let Some(fresh) = self.held.get_mut(&instance) {
                fresh.append(&mut held);
                return;
            }
        }
    }
}

/// Delivers a chunk; its room in the engine is free again afterwards.
fn delivery(sink: Arc<dyn EventSink>, chunk: Chunk) -> Delivery {
    Box::pin(async move {
        let event = Event::Output {
            instance: chunk.instance,
            stream: chunk.stream,
            chunk: chunk.bytes.clone(),
        };
        sink.event(event).await;
        drop(chunk);
    })
}

fn instance_of(report: &Report) -> InstanceId {
    match report {
        Report::Output(chunk) => chunk.instance,
        Report::Health { instance, .. } | Report::Ended { instance, .. } => *instance,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use model::runtime::{Exit, Stats};
    use tokio::sync::{mpsc, watch};

    use super::*;

    /// Takes the output of instance 1 only while its gate is open.
    struct Gated {
        open: watch::Receiver<bool>,
        heard: Mutex<Vec<u64>>,
        told: mpsc::UnboundedSender<u64>,
    }

    impl EventSink for Gated {
        fn event(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(async move {
                self.event_now(event);
            })
        }

        fn event_now(&self, event: Event) {
            if let Event::Exited { instance, .. } = event {
                self.heard.lock().expect("a list").push(instance.0);
                self.told.send(instance.0).expect("a receiver");
            }
        }
    }

    /// As [`Gated`], for output.
    struct Slow(Arc<Gated>);

    impl EventSink for Slow {
        fn event(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(async move {
                let Event::Output { instance, .. } = event else {
                    return;
                };
                if instance.0 == 1 {
                    let mut open = self.0.open.clone();
                    open.wait_for(|open| *open).await.expect("a gate");
                }
                self.0.heard.lock().expect("a list").push(instance.0 * 10);
            })
        }

        fn event_now(&self, event: Event) {
            self.0.event_now(event);
        }
    }

    fn output(instance: u64) -> Report {
        Report::Output(Chunk::detached(
            InstanceId(instance),
            model::runtime::Stream::Stdout,
            bytes::Bytes::from_static(b"x"),
        ))
    }

    fn ended(instance: u64) -> Report {
        let exit = Exit {
            code: 0,
            reason: String::new(),
            message: String::new(),
        };
        Report::Ended {
            instance: InstanceId(instance),
            exit,
            stats: Stats::default(),
        }
    }

    #[tokio::test]
    async fn a_slow_receiver_holds_back_its_own_instance_only_and_in_order() {
        let (gate, open) = watch::channel(false);
        let (told, mut ends) = mpsc::unbounded_channel();
        let gated = Arc::new(Gated {
            open,
            heard: Mutex::default(),
            told,
        });
        let (reports, incoming) = mpsc::unbounded_channel();
        tokio::spawn(run(incoming, Arc::new(Slow(Arc::clone(&gated)))));
        for report in [output(1), output(1), ended(1), output(2), ended(2)] {
            reports.send(report).expect("a pump");
        }
        assert_eq!(ends.recv().await, Some(2));
        assert_eq!(*gated.heard.lock().expect("a list"), [20, 2]);
        gate.send_replace(true);
        assert_eq!(ends.recv().await, Some(1));
        assert_eq!(*gated.heard.lock().expect("a list"), [20, 2, 10, 10, 1]);
    }
}
