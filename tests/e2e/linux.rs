//! Tests that boot Linux.

mod attach;
mod block;
mod bytes;
mod consoles;
mod cpus;
mod debian;
mod ends;
mod everything;
mod initrd;
mod interruptions;
mod kernels;
mod leaks;
mod many;
mod memory;
mod net;
mod panes;
mod pause;
mod power_button;
mod queues;
mod refusals;
mod rng;
mod shell;
mod stdin;
mod stdout;
mod three_ctrl_c;
mod window;
