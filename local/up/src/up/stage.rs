//! Everything that runs before the first job: the database, the double, the function.

use std::time::Duration;

use aws_double::{ClockMode, Double, DoubleConfig, Function, GroupSpec, HookSpec, HttpApi};
use fleet_local::host::{self, Behaviour, Registry, Version};
use fleet_local::pgbouncer::{self, PgBouncer};
use fleet_local::postgres::{self, DATABASE, Postgres};
use fleet_local::template::Template;
use fleet_local::worker::{self, Source};
use fleet_local::{Error, pgboss, random, registry};
use serde_json::json;

use super::Options;
use super::tell::{Narrator, line};

pub(crate) const GROUP: &str = "ghosthands-local";
pub(crate) const QUEUE: &str = "gh_apply_job";
pub(crate) const AUTOSCALE: &str = "autoscale";
pub(crate) const DRAIN: &str = "drain";
const DEPLOY: &str = "deploy";
const FLEET_STATUS: &str = "fleet-status";
/// The status function's program, asked by the API whether a request may go on.
const AUTHORIZE: &str = "authorize";
/// What the fleet has proven before it begins, what is rolled out while one watches, and what does
/// not work.
pub(crate) const FIRST_VERSION: &str = "v1";
pub(crate) const SECOND_VERSION: &str = "v2";
pub(crate) const BROKEN_VERSION: &str = "v3-broken";
/// A host knows two environments, and this is the one of them that nobody fears for.
pub(crate) const ENVIRONMENT: &str = "staging";
const SECRET: &str = "ghosthands/staging/fleet";
/// The pointer to the version that new hosts boot to.
pub(crate) const STABLE: &str = "/ghosthands/staging/stable";
/// The hook and the document, as a site names them, and the hook's time without a heartbeat: the
/// seed's.
const HOOK: &str = "ghosthands-drain-hook";
const DOCUMENT: &str = "GhostHands-Host";
const SURVEY_DOCUMENT: &str = "GhostHands-Host-Survey";
const HEARTBEAT_SECONDS: u32 = 300;
/// They guard a demonstration on this machine alone, so they may be printed.
pub(crate) const OPERATOR_TOKEN: &str = "local-operator-token";
const READER_TOKEN: &str = "local-reader-token";
const TICK_PATH: &str = "/api/v1/admin/autoscale/tick";
const METRICS_PATH: &str = "/api/v1/admin/metrics";
/// How long a machine may take to shut down.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(3);

/// The running parts. They are dropped in this order: users before what they use.
pub(crate) struct Stage {
    pub(crate) api: HttpApi,
    pub(crate) autoscale: Function,
    pub(crate) drain: Function,
    pub(crate) double: Double,
    /// What the hosts pull from.
    pub(crate) images: Registry,
    pub(crate) boss: pgboss::Boss,
    pooler: Option<PgBouncer>,
    pub(crate) server: Postgres,
}

impl Stage {
    /// Starts everything; the group launches its first instances at once.
    pub(crate) async fn start(options: &Options, narrator: Narrator) -> Result<Self, Error> {
        let template = Template::read(GROUP)?;
        let broken = Version { worker: Behaviour::Crashes, ..Version::new(BROKEN_VERSION) };
        let versions = [Version::new(FIRST_VERSION), Version::new(SECOND_VERSION), broken];
        let images = host::registry(&versions)?;
        let package = pgboss::install(pgboss::DEFAULT_VERSION)?;
        worker::install()?;
        let server = Postgres::start(postgres::Options::default())?;
        narrator.say("postgres", &format!("PostgreSQL {} takes TLS only", server.version()));
        let pooler = if pgbouncer::installed() {
            let pooler = PgBouncer::start(&server, pgbouncer::Options::default())?;
            narrator.say("pgbouncer", "pools by transaction, TLS on both sides");
            Some(pooler)
        } else {
            narrator.say("pgbouncer", "is not installed; the function connects directly");
            None
        };
        let mut boss = package.start(&server.app_url(), &server.ca_file())?;
        boss.create_queue(QUEUE, json!({}))?;
        registry::install(&server, DATABASE)?;
        let reader_password = random::hex()?;
        registry::create_reader(&server, DATABASE, "fleet_reader", &reader_password)?;
        let schema = boss.schema_version()?;
        narrator.say("pg-boss", &format!("{} made its schema {schema}", package.version()));

        let double = Double::start(DoubleConfig { clock: ClockMode::Real, ..Default::default() })
            .await
            .map_err(Error::io("start the AWS double"))?;
        let (url, ca_file) = match &pooler {
            Some(pooler) => {
                (pooler.url("fleet_reader", &reader_password, DATABASE), pooler.ca_file())
            }
            None => (server.url("fleet_reader", &reader_password, DATABASE), server.ca_file()),
        };
        let secret = json!({
            "DATABASE_URL": url,
            "FLEET_OPERATOR_TOKEN": OPERATOR_TOKEN,
            "FLEET_READER_TOKEN": READER_TOKEN,
        });
        double.put_secret(SECRET, &secret.to_string()).map_err(|error| refused(SECRET, &error))?;
        let pointer = json!({ "image_tag": FIRST_VERSION, "at": double.now() });
        double
            .put_parameter(STABLE, &pointer.to_string())
            .map_err(|error| refused(STABLE, &error))?;
        let group = GroupSpec::new(GROUP, options.min, options.max)
            .desired(options.min)
            .boot(options.boot())
            .shutdown(SHUTDOWN)
            .retain_on_abandon()
            .hook(HookSpec::terminating(HOOK, HEARTBEAT_SECONDS));
        double.create_group(group).map_err(|error| refused(GROUP, &error))?;
        double
            .create_document(DOCUMENT, &template.host_document())
            .map_err(|error| refused(DOCUMENT, &error))?;
        double
            .create_document(SURVEY_DOCUMENT, &template.survey_document())
            .map_err(|error| refused(SURVEY_DOCUMENT, &error))?;
        let common =
            [("GH_ENVIRONMENT", ENVIRONMENT.to_owned()), ("AWS_ASG_NAME", GROUP.to_owned())];
        let settings = options.function_settings().into_iter().chain(common.clone());
        let settings = settings.chain([("DATABASE_CA", ca_file.display().to_string())]);
        // The schedule below is the run's own, and wakes it for every tick.
        let one_tick = [("AUTOSCALE_TICK_SECONDS", "60".to_owned())];
        let own = owned(settings.clone().chain(one_tick));
        let autoscale = template.start(AUTOSCALE, &double, own).await?;
        template.start(FLEET_STATUS, &double, owned(settings)).await?;
        template.start(AUTHORIZE, &double, owned(common.clone())).await?;
        let drain = template.start(DRAIN, &double, owned(common.clone())).await?;
        template.start(DEPLOY, &double, owned(common)).await?;
        let seconds = options.tick().as_secs();
        // As in EventBridge, one is singular.
        let unit = if seconds == 1 { "second" } else { "seconds" };
        for function in [AUTOSCALE, DRAIN, DEPLOY] {
            double
                .schedule(function, &format!("rate({seconds} {unit})"), function)
                .map_err(|error| refused("the schedule", &error))?;
        }
        double
            .schedule_input("survey", "rate(15 minutes)", DEPLOY, template.survey()?)
            .map_err(|error| refused("the surveys' schedule", &error))?;
        let routes = [AUTOSCALE, FLEET_STATUS, DEPLOY]
            .map(|name| template.routes_behind_authorizer(name))
            .concat();
        let api = double.http_api(routes, 0).await.map_err(Error::io("start the HTTP API"))?;
        Ok(Self { api, autoscale, drain, double, images, boss, pooler, server })
    }

    /// Where the workers get their jobs: as on a site, not through the pooler.
    pub(crate) fn source(&self) -> Source {
        Source { url: self.server.app_url(), ca_file: self.server.ca_file() }
    }

    /// Tells a person how to look into it from another terminal.
    pub(crate) fn print_where_to_look(&self) {
        let (api, aws) = (self.api.endpoint(), self.double.endpoint());
        line("");
        line("Where to look, from another terminal:");
        line(&format!("  the page, with the token {OPERATOR_TOKEN}:"));
        line(&format!("    {api}/"));
        line("  a tick by hand:");
        line(&format!(
            "    curl -X POST -H 'Authorization: Bearer {OPERATOR_TOKEN}' {api}{TICK_PATH}"
        ));
        line("  what Prometheus reads of the fleet, and of a host by its deploy-server's port:");
        line(&format!("    curl -H 'Authorization: Bearer {READER_TOKEN}' {api}{METRICS_PATH}"));
        line("    curl -H 'Accept: text/plain' http://127.0.0.1:PORT/metrics");
        line("  the group, with any client of AWS (this is a double, any key will do):");
        line(&format!(
            "    AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1 \
             aws --endpoint-url {aws} autoscaling describe-auto-scaling-groups"
        ));
        line("  the queue and the workers' registry:");
        line(&format!(
            "    psql '{}&sslrootcert={}'",
            self.server.app_url(),
            self.server.ca_file().display()
        ));
        if let Some(pooler) = &self.pooler {
            line(&format!("  PgBouncer listens on port {}", pooler.port()));
        }
        line("Ctrl-C stops everything.");
        line("");
    }
}

fn refused(what: &str, error: &dyn std::error::Error) -> Error {
    Error::Failed(format!("the AWS double refuses {what}: {error}"))
}

fn owned(
    settings: impl IntoIterator<Item = (&'static str, String)>,
) -> impl Iterator<Item = (String, String)> {
    settings.into_iter().map(|(name, value)| (name.to_owned(), value))
}
