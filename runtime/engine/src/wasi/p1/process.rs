//! Arguments, environment, clocks, random bytes, yielding and the end of the program.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use wasmtime::{Caller, Linker};
use wasmtime_wasi::I32Exit;

use super::errno::Errno;
use super::memory::{Call, answer};
use super::{MODULE, Start};
use crate::executor::yield_now;
use crate::guest::Guest;
use crate::wasi::random;

/// `clockid`: the time of day.
pub(super) const REALTIME: u32 = 0;
/// `clockid`: a time that only goes forward.
pub(super) const MONOTONIC: u32 = 1;
/// `clockid`: time on a CPU.
const PROCESS_CPU: u32 = 2;
/// `clockid`: the same, as a program has one thread.
const THREAD_CPU: u32 = 3;

/// How many listeners there are, in the environment: sd_listen_fds(3).
const LISTEN_FDS: &str = "LISTEN_FDS";
/// Their names, parted by colons.
const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";

/// Nanoseconds between two looks at the CPU time of a program that computes: the epoch tick.
const CPU_CLOCK_RESOLUTION: u64 = 10_000_000;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_command_line(linker)?;
    add_clocks(linker)?;
    linker
        .func_wrap_async(MODULE, "random_get", |caller, (at, length): (u32, u32)| {
            Box::new(async move { answer(random_get(&mut Call::new(caller)?, at, length).await) })
        })?
        .func_wrap_async(MODULE, "sched_yield", |_: Caller<'_, Guest>, (): ()| {
            Box::new(async move {
                yield_now().await;
                answer(Ok(()))
            })
        })?
        .func_wrap(MODULE, "proc_exit", |code: u32| -> wasmtime::Result<()> {
            Err(I32Exit(code.cast_signed()).into())
        })?
        // There is nobody whom a signal could reach: wasi-libc handles raise(3) inside the program.
        .func_wrap(MODULE, "proc_raise", |_signal: u32| {
            answer(Err(Errno::Nosys))
        })?;
    Ok(())
}

fn add_command_line(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap(
            MODULE,
            "args_sizes_get",
            |caller: Caller<'_, Guest>, count: u32, size: u32| {
                let mut call = Call::new(caller)?;
                let args = call.guest().p1.start.arguments();
                answer(write_sizes(&mut call, &args, count, size))
            },
        )?
        .func_wrap(
            MODULE,
            "args_get",
            |caller: Caller<'_, Guest>, pointers: u32, strings: u32| {
                let mut call = Call::new(caller)?;
                let args = call.guest().p1.start.arguments();
                answer(write_strings(&mut call, &args, pointers, strings))
            },
        )?
        .func_wrap(
            MODULE,
            "environ_sizes_get",
            |caller: Caller<'_, Guest>, count: u32, size: u32| {
                let mut call = Call::new(caller)?;
                let environment = call.guest().p1.start.environment();
                answer(write_sizes(&mut call, &environment, count, size))
            },
        )?
        .func_wrap(
            MODULE,
            "environ_get",
            |caller: Caller<'_, Guest>, pointers: u32, strings: u32| {
                let mut call = Call::new(caller)?;
                let environment = call.guest().p1.start.environment();
                answer(write_strings(&mut call, &environment, pointers, strings))
            },
        )?;
    Ok(())
}

fn add_clocks(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap(
            MODULE,
            "clock_res_get",
            |caller: Caller<'_, Guest>, id: u32, out: u32| {
                answer(clock_res_get(&mut Call::new(caller)?, id, out))
            },
        )?
        .func_wrap(
            MODULE,
            "clock_time_get",
            |caller: Caller<'_, Guest>, id: u32, _precision: u64, out: u32| {
                answer(clock_time_get(&mut Call::new(caller)?, id, out))
            },
        )?;
    Ok(())
}

/// Strings as C has them: one after the other, a NUL behind each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

fn write_sizes(call: &mut Call<'_>, strings: &Strings, count: u32, size: u32) -> Result<(), Errno> {
    call.write_size(count, strings.starts.len())?;
    call.write_size(size, strings.bytes.len())
}

fn write_strings(
    call: &mut Call<'_>,
    strings: &Strings,
    pointers: u32,
    at: u32,
) -> Result<(), Errno> {
    let base = usize::try_from(at).map_err(|_| Errno::Fault)?;
    let mut table = Vec::with_capacity(strings.starts.len().saturating_mul(4));
    for start in &strings.starts {
        let pointer = u32::try_from(base.saturating_add(*start)).map_err(|_| Errno::Fault)?;
        table.extend_from_slice(&pointer.to_le_bytes());
    }
    call.write(at, &strings.bytes)?;
    call.write(pointers, &table)
}

fn clock_res_get(call: &mut Call<'_>, id: u32, out: u32) -> Result<(), Errno> {
    let resolution = match id {
        REALTIME => nanoseconds(clock_getres(ClockId::Realtime)),
        MONOTONIC => nanoseconds(clock_getres(ClockId::Monotonic)),
        PROCESS_CPU | THREAD_CPU => CPU_CLOCK_RESOLUTION,
        _ => return Err(Errno::Inval),
    };
    call.write(out, &resolution.to_le_bytes())
}

fn clock_time_get(call: &mut Call<'_>, id: u32, out: u32) -> Result<(), Errno> {
    let now = match id {
        REALTIME | MONOTONIC => time(id),
        PROCESS_CPU | THREAD_CPU => {
            let used = call.guest().p1.start.program.account.stats().cpu;
            u64::try_from(used.as_nanos()).unwrap_or(u64::MAX)
        }
        _ => return Err(Errno::Inval),
    };
    call.write(out, &now.to_le_bytes())
}

/// What one of the two clocks says that everybody shares: nanoseconds since 1970, or since the
/// machine started.
pub(super) fn time(id: u32) -> u64 {
    nanoseconds(clock_gettime(if id == REALTIME {
        ClockId::Realtime
    } else {
        ClockId::Monotonic
    }))
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Fills the guest's memory in place, in parts, so that a large wish holds up nobody.
async fn random_get(call: &mut Call<'_>, at: u32, length: u32) -> Result<(), Errno> {
    call.check(at, length)?;
    let mut done = 0;
    while done < length {
        let place = call.bytes_mut(at.saturating_add(done), length - done)?;
        let filled = random::fill_part(place).map_err(|_| Errno::Io)?;
        done = done.saturating_add(u32::try_from(filled).unwrap_or(length));
        if done < length {
            yield_now().await;
        }
    }
    Ok(())
}

// === impl Start ===

impl Start {
    fn arguments(&self) -> Strings {
        let mut strings = Strings::default();
        for argument in &self.program.args {
            strings.push(&[argument]);
        }
        strings
    }

    /// The program's own, and what tells it of its listeners. What those are is a fact, so a
    /// variable of the manifest with such a name is left out.
    fn environment(&self) -> Strings {
        let listeners: Vec<_> = self.listeners().collect();
        let told =
            |name: &str| !listeners.is_empty() && [LISTEN_FDS, LISTEN_FDNAMES].contains(&name);
        let mut strings = Strings::default();
        for (name, value) in self.program.env.iter().filter(|(name, _)| !told(name)) {
            strings.push(&[name, "=", value]);
        }
        if !listeners.is_empty() {
            let names: Vec<_> = listeners.iter().map(|(name, _)| *name).collect();
            strings.push(&[LISTEN_FDS, "=", &listeners.len().to_string()]);
            strings.push(&[LISTEN_FDNAMES, "=", &names.join(":")]);
        }
        strings
    }
}

// === impl Strings ===

impl Strings {
    /// Adds one that has these parts.
    fn push(&mut self, parts: &[&str]) {
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.push(0);
    }
}
