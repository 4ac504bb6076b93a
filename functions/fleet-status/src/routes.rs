//! What can be asked for. `template.yaml` has the same routes, and the OpenAPI document too.

use fleet_lambda::{Access, Route, Scope};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Page,
    Health,
    OpenApi,
    Status,
    Job,
    Metrics,
    SetCapacity,
}

pub(crate) const ROUTES: [Route<To>; 7] = [
    get("/", Access::Open, To::Page),
    get("/healthz", Access::Open, To::Health),
    get("/openapi.json", Access::Needs(Scope::Read), To::OpenApi),
    get("/api/v1/admin/fleet-status", Access::Needs(Scope::Read), To::Status),
    get("/api/v1/admin/jobs/{id}", Access::Needs(Scope::Read), To::Job),
    get("/api/v1/admin/metrics", Access::Needs(Scope::Read), To::Metrics),
    Route {
        method: "PUT",
        path: "/api/v1/admin/capacity",
        access: Access::Needs(Scope::Operate),
        audit: Some("capacity.set"),
        to: To::SetCapacity,
    },
];

const fn get(path: &'static str, access: Access, to: To) -> Route<To> {
    Route { method: "GET", path, access, audit: None, to }
}
