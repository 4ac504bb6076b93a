//! The part of AWS that a fleet on one machine needs, on 127.0.0.1: Auto Scaling, SSM parameters,
//! Secrets Manager, STS, EventBridge deliveries and Lambda, with a clock that tests can drive and
//! faults on request.
//!
//! It is strict where AWS is, and honest where it stops: an action or a parameter it does not model
//! is refused, never ignored. What it cannot know about AWS it reads in the way that is harder on
//! the caller (see `asg`). It holds no secrets worth protecting and checks no signatures: it is for
//! tests, and listens on loopback only.

mod account;
mod asg;
mod bus;
mod clock;
mod commands;
mod control;
mod disturb;
mod double;
mod error;
mod faults;
mod ids;
mod imds;
mod journal;
mod lambda;
mod pattern;
mod runner;
mod runs;
mod server;
mod services;
mod surroundings;
mod wire;

pub use asg::{
    Activity, Direction, Group, GroupSpec, HookAction, HookResult, HookSpec, Instance,
    LaunchTemplate, LifecycleState, Refresh, Tag, Transition, TransitionKind,
};
pub use bus::ScheduleError;
pub use clock::{ClockError, ClockMode};
pub use commands::{
    Command, CommandFault, CommandOutput, CommandSettings, CommandState, Invocation,
    InvocationState,
};
pub use disturb::{Disturbance, DisturbanceError};
pub use double::{Double, DoubleConfig};
pub use error::ApiError;
pub use faults::{Fault, Faults, PlannedFault};
pub use journal::{Call, TransitionStream};
pub use lambda::{
    Authorizer, Function, FunctionConfig, FunctionError, HttpApi, InvokeError, LogLine, LogStream,
    Route,
};
pub use pattern::PatternError;
pub use runner::{CommandFuture, CommandRun, CommandRunner, ShellRunner, scripted};
pub use surroundings::Alarm;
