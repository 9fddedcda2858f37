//! What a pod is and how it lives.
//!
//! Pure types, the lifecycle step function and the traits between rooms. Nothing here reads a
//! clock, opens a file or knows an async runtime: whoever acts passes time in and carries actions
//! out.
//!
//! ```text
//! api (manifest, object) --> Pod --> lifecycle::step --> actions --> Runtime (messages) --> host
//!                                        ^                                               |
//!                                        +------------------ Event <---------------------+
//! ```

pub mod container;
pub mod lifecycle;
pub mod pod;
pub mod probe;
pub mod quantity;
pub mod runtime;
pub mod security;
pub mod status;
pub mod volume;
pub mod working_dir;

pub use container::Container;
pub use pod::Pod;
pub use quantity::Quantity;
pub use runtime::Runtime;
