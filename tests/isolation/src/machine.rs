//! The machine that figures come from.

use std::fs;

use serde_json::{Map, Value};

/// What it is, as far as it bears on the figures.
pub(crate) fn describe() -> Map<String, Value> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        processor
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    let is_virtual = field("flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let memory = rustix::system::sysinfo();
    let system = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kibibytes = u64::from(memory.mem_unit).saturating_mul(memory.totalram) / 1024;
    let facts = [
        ("cpu", field("model name").into()),
        ("cores", cores.into()),
        ("virtual", is_virtual.into()),
        ("memory_kib", kibibytes.into()),
        ("kernel", system.release().to_string_lossy().into()),
        ("architecture", system.machine().to_string_lossy().into()),
    ];
    let named = facts.map(|(name, fact): (&str, Value)| (name.to_owned(), fact));
    Map::from_iter(named)
}

/// The load average of the last minute: how busy others kept the machine.
pub(crate) fn load() -> Option<f64> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split(' ').next()?.parse().ok()
}
