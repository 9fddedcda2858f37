//! The program tested as its users use it, and the rules of the house tested as code.
//!
//! One test binary: the whole is a library's `cfg(test)` part. Tests start the built `wasmpod`
//! through `harness` and know nothing of its insides; `tidy` reads the source tree and needs no
//! program at all. What is not here: tests of one crate's own logic, which live beside it.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod tidy;

#[cfg(test)]
mod capabilities;
#[cfg(test)]
mod compiling;
#[cfg(test)]
mod cpu;
#[cfg(test)]
mod density;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod images;
#[cfg(test)]
mod large;
#[cfg(test)]
mod left_behind;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod modules;
#[cfg(test)]
mod network;
#[cfg(test)]
mod output;
#[cfg(test)]
mod placements;
#[cfg(test)]
mod preview1;
#[cfg(test)]
mod preview3;
#[cfg(test)]
mod registries;
#[cfg(test)]
mod run_cli;
#[cfg(test)]
mod steering;
#[cfg(test)]
mod volumes;
