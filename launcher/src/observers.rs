//! An observer for each queue and each vCPU, from the launcher's start to its end. Observers
//! outlive the threads, the devices and the guest. They count for `lguest stats` and record events
//! for [`host::trace`].

use std::sync::{Arc, Mutex};

use devices::mutex::lock;
use devices::observer::{self, Observer};
use host::trace::TraceRings;
use machine::vcpu::observer::{self as vcpu, VcpuObserver};
use serde_json::{Map, Value, json};

/// The observers of all queues and vCPUs.
#[derive(Debug)]
pub(crate) struct Observers {
    /// By the name of the queue's thread. Building a guest and reading the counts take the lock.
    queues: Mutex<Vec<(String, Arc<Observer>)>>,
    vcpus: Vec<(String, Arc<VcpuObserver>)>,
    rings: Option<Arc<TraceRings>>,
}

impl Observers {
    /// Observers for a guest with this number of vCPUs. They record events if there are trace rings.
    pub(crate) fn new(cpus: u8, rings: Option<Arc<TraceRings>>) -> Self {
        let vcpu = |id| {
            let name = format!("vcpu{id}");
            let ring = rings.as_ref().map(|rings| rings.add(&name, vcpu::EVENT_KINDS));
            (name, Arc::new(VcpuObserver::new(ring)))
        };
        Self { queues: Mutex::default(), vcpus: (0..cpus).map(vcpu).collect(), rings }
    }

    /// The observer of this queue: the existing one, or a new one.
    pub(crate) fn queue(&self, thread: &str) -> Arc<Observer> {
        let mut queues = lock(&self.queues);
        if let Some((_, known)) = queues.iter().find(|(name, _)| name == thread) {
            return Arc::clone(known);
        }
        let ring = self.rings.as_ref().map(|rings| rings.add(thread, observer::EVENT_KINDS));
        let new = Arc::new(Observer::new(ring));
        queues.push((thread.to_string(), Arc::clone(&new)));
        new
    }

    /// The observer of this vCPU.
    pub(crate) fn vcpu(&self, id: u8) -> Arc<VcpuObserver> {
        let known = self.vcpus.get(usize::from(id));
        known.map_or_else(Arc::default, |(_, observer)| Arc::clone(observer))
    }

    /// The counts up to now: `queues` and `vcpus` of docs/control.md.
    pub(crate) fn counts(&self) -> [Value; 2] {
        let queues = lock(&self.queues);
        let queues = queues.iter().map(|(name, it)| named(name, &it.stats.fields())).collect();
        let vcpus = self.vcpus.iter().map(|(name, it)| named(name, &it.stats.fields())).collect();
        [queues, vcpus]
    }
}

fn named(name: &str, fields: &[(&'static str, u64)]) -> Value {
    let counts = fields.iter().map(|(key, count)| ((*key).to_string(), json!(count)));
    let name = [("name".to_string(), json!(name))];
    Value::Object(name.into_iter().chain(counts).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_its_observer() {
        let observers = Observers::new(1, None);
        observers.queue("blk0-q0").stats.requests.add(2);
        observers.queue("con0-tx").stats.kicks.add(1);
        observers.queue("blk0-q0").stats.requests.add(3);
        let [queues, vcpus] = observers.counts();
        let names: Vec<_> = [&queues, &vcpus].map(|all| all[0]["name"].clone()).into();
        assert_eq!(names, ["blk0-q0", "vcpu0"]);
        assert_eq!((&queues[0]["requests"], &queues[1]["kicks"]), (&json!(5), &json!(1)));
        assert_eq!(queues.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn each_observer_has_a_lane_if_there_are_lanes() {
        let rings = Arc::new(TraceRings::default());
        let observers = Observers::new(2, Some(Arc::clone(&rings)));
        observers.queue("rng0-req");
        observers.queue("rng0-req");
        assert_eq!(rings.names(), ["vcpu0", "vcpu1", "rng0-req"]);
    }
}
