use super::*;

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = super::super::HOUR_MS;

fn image(id: &str, tags: &[&str], digests: &[&str], age_hours: i64) -> Image {
    Image {
        id: id.to_owned(),
        repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        repo_digests: digests.iter().map(|digest| (*digest).to_owned()).collect(),
        created: (NOW - age_hours * HOUR) / 1000,
        size: 100,
        shared_size: 40,
    }
}

fn ids(images: &[Image]) -> Vec<&str> {
    images.iter().map(|image| image.id.as_str()).collect()
}

fn plan_of(images: &[Image], keep: &KeepSet) -> ImagePlan {
    plan(images, &[], keep, &BTreeMap::new(), NOW)
}

#[test]
fn old_unused_images_go_and_young_ones_stay() {
    let images = [image("old", &["r:1"], &[], 73), image("young", &["r:2"], &[], 72)];
    let plan = plan_of(&images, &KeepSet::default());
    assert_eq!(ids(&plan.unused), ["old"]);
    assert_eq!(plan.kept_unused[0].1, "younger than 72 h");
}

#[test]
fn an_old_build_that_was_tagged_here_yesterday_is_young() {
    let images = [image("a", &["r:1"], &[], 500), image("b", &["r:2"], &[], 500)];
    let tagged =
        BTreeMap::from([("a".to_owned(), NOW - 24 * HOUR), ("b".to_owned(), NOW - 80 * HOUR)]);
    let plan = plan(&images, &[], &KeepSet::default(), &tagged, NOW);
    assert_eq!(ids(&plan.unused), ["b"]);
}

#[test]
fn dangling_images_go_at_any_age() {
    let images = [
        image("none", &["<none>:<none>"], &["<none>@<none>"], 0),
        image("digest", &[], &["r@sha256:d"], 0),
    ];
    let plan = plan_of(&images, &KeepSet::default());
    assert_eq!(ids(&plan.dangling), ["none", "digest"]);
    assert!(plan.unused.is_empty());
}

#[test]
fn a_used_image_stays_even_if_its_container_is_stopped() {
    let container = Container {
        names: vec!["/w.prev".to_owned()],
        image_id: "a".to_owned(),
        mounts: Vec::new(),
    };
    let images = [image("a", &["r:1"], &[], 500)];
    let plan = plan(&images, &[container], &KeepSet::default(), &BTreeMap::new(), NOW);
    assert!(plan.unused.is_empty());
    assert_eq!(plan.kept_unused[0].1, "container w.prev uses it");
}

#[test]
fn the_rollback_image_stays_however_it_is_named() {
    let images = [image("sha256:id", &["r:1"], &["r@sha256:digest"], 5000)];
    for name in ["sha256:id", "r:1", "r@sha256:digest", "sha256:digest", "elsewhere@sha256:digest"]
    {
        let mut keep = KeepSet::default();
        keep.insert(name.strip_prefix("elsewhere@").unwrap_or(name), "previous");
        let plan = plan_of(&images, &keep);
        assert!(plan.unused.is_empty(), "{name}");
        assert_eq!(plan.kept_unused[0].1, "in the keep-set: previous");
    }
    let mut keep = KeepSet::default();
    keep.insert("r:2", "current");
    assert_eq!(plan_of(&images, &keep).unused.len(), 1);
}

#[test]
fn the_engine_s_nulls_and_unknown_fields_are_read() {
    let text = r#"{"LayersSize":null,"Images":[{"Id":"a","RepoTags":null,"RepoDigests":null,"Created":1,"Size":5,"SharedSize":-1,"X":1}],
        "Containers":null,"Volumes":[{"Name":"v","UsageData":null,"Labels":null}],"BuildCache":null,"BuilderSize":0}"#;
    let usage: Usage = serde_json::from_str(text).expect("a df");
    assert_eq!(usage.images[0].own_bytes(), None, "what it shares is unknown");
    assert!(usage.images[0].is_dangling());
    assert_eq!(usage.volumes.len(), 1);
}
