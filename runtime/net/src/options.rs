//! Options of a socket: what WASI lets a guest set, with the values it may have.
//!
//! A socket keeps what was set and hands it to the connections it accepts. Between pods the
//! options have no effect beyond being told back; kernel sockets get them as well.

use crate::error::NetError;

/// The options of a socket as they stand. Times are nanoseconds, sizes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// SO_KEEPALIVE.
    pub keep_alive: bool,
    /// TCP_KEEPIDLE in nanoseconds.
    pub keep_idle: u64,
    /// TCP_KEEPINTVL in nanoseconds.
    pub keep_interval: u64,
    /// TCP_KEEPCNT.
    pub keep_count: u32,
    /// IP_TTL or IPV6_UNICAST_HOPS.
    pub hop_limit: u8,
    /// SO_RCVBUF in bytes.
    pub receive_buffer: u64,
    /// SO_SNDBUF in bytes.
    pub send_buffer: u64,
}

/// One option with its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOption {
    /// SO_KEEPALIVE.
    KeepAlive(bool),
    /// TCP_KEEPIDLE in nanoseconds; 0 is refused, the rest clamped to 1 s … 32,767 s.
    KeepIdle(u64),
    /// TCP_KEEPINTVL in nanoseconds; 0 is refused, the rest clamped to 1 s … 32,767 s.
    KeepInterval(u64),
    /// TCP_KEEPCNT; 0 is refused, the rest clamped to 127.
    KeepCount(u32),
    /// IP_TTL or IPV6_UNICAST_HOPS; 0 is refused.
    HopLimit(u8),
    /// SO_RCVBUF in bytes; 0 is refused, the rest clamped.
    ReceiveBuffer(u64),
    /// SO_SNDBUF in bytes; 0 is refused, the rest clamped.
    SendBuffer(u64),
}

/// A second in the unit of the keep-alive options.
const SECOND: u64 = 1_000_000_000;
/// Linux keeps these times as seconds in 16 bits with a sign.
const MAX_KEEP_TIME: u64 = 32_767 * SECOND;
/// Linux' MAX_TCP_KEEPCNT.
const MAX_KEEP_COUNT: u32 = 127;
/// Below this Linux' own buffers cannot go.
const MIN_BUFFER: u64 = 2_304;
/// Twice Linux' default `net.core.rmem_max`.
const MAX_BUFFER: u64 = 425_984;

// === impl Options ===

impl Options {
    /// What a new socket has: Linux' defaults.
    pub const DEFAULT: Self = Self {
        keep_alive: false,
        keep_idle: 7200 * SECOND,
        keep_interval: 75 * SECOND,
        keep_count: 9,
        hop_limit: 64,
        receive_buffer: 212_992,
        send_buffer: 212_992,
    };

    /// Sets one. Refuses 0 as WASI demands and clamps what Linux would clamp.
    pub fn set(&mut self, option: SetOption) -> Result<(), NetError> {
        let zero = match option {
            SetOption::KeepAlive(_) => false,
            SetOption::KeepIdle(n)
            | SetOption::KeepInterval(n)
            | SetOption::ReceiveBuffer(n)
            | SetOption::SendBuffer(n) => n == 0,
            SetOption::KeepCount(n) => n == 0,
            SetOption::HopLimit(n) => n == 0,
        };
        if zero {
            return Err(NetError::InvalidArgument);
        }
        match option {
            SetOption::KeepAlive(on) => self.keep_alive = on,
            SetOption::KeepIdle(n) => self.keep_idle = n.clamp(SECOND, MAX_KEEP_TIME),
            SetOption::KeepInterval(n) => self.keep_interval = n.clamp(SECOND, MAX_KEEP_TIME),
            SetOption::KeepCount(n) => self.keep_count = n.min(MAX_KEEP_COUNT),
            SetOption::HopLimit(n) => self.hop_limit = n,
            SetOption::ReceiveBuffer(n) => self.receive_buffer = n.clamp(MIN_BUFFER, MAX_BUFFER),
            SetOption::SendBuffer(n) => self.send_buffer = n.clamp(MIN_BUFFER, MAX_BUFFER),
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}
