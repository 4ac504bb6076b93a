//! The wire formats: Query in and XML out for Auto Scaling and STS, JSON 1.1 for SSM and Secrets
//! Manager.

pub(crate) mod form;
pub(crate) mod xml;
