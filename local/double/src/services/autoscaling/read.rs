//! The Describe actions, their filters and pages.

use super::render;
use crate::asg::{AutoScaling, Group, Tag};
use crate::error::ApiError;
use crate::wire::form::Form;
use crate::wire::xml::Xml;

type Answer = Result<Xml, ApiError>;

/// A page of a listing. Tokens are offsets: the double's lists keep their order.
struct Page {
    from: usize,
    size: usize,
}

impl Page {
    fn take(form: &mut Form, default: usize, most: usize) -> Result<Self, ApiError> {
        let size = match form.number("MaxRecords")? {
            None => default,
            Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
        };
        if size == 0 || size > most {
            return Err(ApiError::validation(format!("MaxRecords must be between 1 and {most}")));
        }
        let from = match form.text("NextToken").filter(|t| !t.is_empty()) {
            None => 0,
            Some(token) => {
                token.strip_prefix("offset-").and_then(|n| n.parse().ok()).ok_or_else(|| {
                    ApiError::new("InvalidNextToken", format!("The token '{token}' is invalid."))
                })?
            }
        };
        Ok(Self { from, size })
    }

    /// The items of this page and the token of the next.
    fn cut<T>(&self, items: Vec<T>) -> (Vec<T>, Option<String>) {
        let next = self.from.saturating_add(self.size);
        let token = (items.len() > next).then(|| format!("offset-{next}"));
        (items.into_iter().skip(self.from).take(self.size).collect(), token)
    }
}

/// A filter's name and values.
type Filter = (String, Vec<String>);

/// The filters of a call; `known` says which names the action has.
fn filters(form: &mut Form, known: fn(&str) -> bool) -> Result<Vec<Filter>, ApiError> {
    form.members("Filters")
        .into_iter()
        .map(|mut filter| {
            let (name, values) = (filter.required("Name")?, filter.list("Values"));
            filter.finish()?;
            if !known(&name) {
                return Err(ApiError::validation(format!("Filter type {name} is not correct.")));
            }
            Ok((name, values))
        })
        .collect()
}

fn is_group_filter(name: &str) -> bool {
    matches!(name, "tag-key" | "tag-value") || name.starts_with("tag:")
}

/// Groups match a filter when a tag of theirs does.
fn group_matches(group: &Group, (name, values): &Filter) -> bool {
    group.tags.iter().any(|(key, tag)| match name.as_str() {
        "tag-key" => values.contains(key),
        "tag-value" => values.contains(&tag.value),
        named => named.strip_prefix("tag:") == Some(key) && values.contains(&tag.value),
    })
}

fn is_tag_filter(name: &str) -> bool {
    matches!(name, "auto-scaling-group" | "key" | "value" | "propagate-at-launch")
}

fn tag_matches(group: &Group, key: &String, tag: &Tag, (name, values): &Filter) -> bool {
    match name.as_str() {
        "auto-scaling-group" => values.contains(&group.name),
        "key" => values.contains(key),
        "value" => values.contains(&tag.value),
        _ => values.contains(&tag.propagate.to_string()),
    }
}

pub(super) fn groups(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let names = form.list("AutoScalingGroupNames");
    let filters = filters(form, is_group_filter)?;
    let page = Page::take(form, 50, 100)?;
    form.finish()?;
    let found = asg
        .groups()
        .values()
        .filter(|group| names.is_empty() || names.contains(&group.name))
        .filter(|group| filters.iter().all(|filter| group_matches(group, filter)))
        .collect();
    let (found, token) = page.cut(found);
    let mut x = Xml::default();
    x.members("AutoScalingGroups", found, render::group).maybe("NextToken", token);
    Ok(x)
}

pub(super) fn instances(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let ids = form.list("InstanceIds");
    let page = Page::take(form, 50, 50)?;
    form.finish()?;
    if ids.len() > 50 {
        return Err(ApiError::validation("At most 50 InstanceIds can be given"));
    }
    let found = asg
        .groups()
        .values()
        .flat_map(|group| group.instances.iter().map(move |i| (group, i)))
        .filter(|(_, i)| ids.is_empty() || ids.contains(&i.id))
        .collect();
    let (found, token) = page.cut(found);
    let mut x = Xml::default();
    x.members("AutoScalingInstances", found, |x, (group, i)| render::instance(x, group, i))
        .maybe("NextToken", token);
    Ok(x)
}

pub(super) fn hooks(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = form.required("AutoScalingGroupName")?;
    let names = form.list("LifecycleHookNames");
    form.finish()?;
    let group = asg.group(&name)?;
    let found = group.hooks.values().filter(|h| names.is_empty() || names.contains(&h.name));
    let mut x = Xml::default();
    x.members("LifecycleHooks", found, |x, hook| render::hook(x, &group.name, hook));
    Ok(x)
}

pub(super) fn activities(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = form.text("AutoScalingGroupName");
    let ids = form.list("ActivityIds");
    let page = Page::take(form, 100, 100)?;
    form.finish()?;
    if let Some(name) = &name {
        asg.group(name)?;
    }
    let found = asg
        .groups()
        .values()
        .filter(|group| name.as_ref().is_none_or(|name| *name == group.name))
        .flat_map(|group| group.activities.iter().map(move |a| (group, a)))
        .filter(|(_, a)| ids.is_empty() || ids.contains(&a.id))
        .collect();
    let (found, token) = page.cut(found);
    let mut x = Xml::default();
    x.members("Activities", found, |x, (group, a)| {
        render::activity(x, &group.name, &group.arn, a);
    })
    .maybe("NextToken", token);
    Ok(x)
}

pub(super) fn refreshes(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = form.required("AutoScalingGroupName")?;
    let ids = form.list("InstanceRefreshIds");
    let page = Page::take(form, 50, 100)?;
    form.finish()?;
    let group = asg.group(&name)?;
    let found = group.refreshes.iter().filter(|r| ids.is_empty() || ids.contains(&r.id)).collect();
    let (found, token) = page.cut(found);
    let mut x = Xml::default();
    x.members("InstanceRefreshes", found, |x, r| render::refresh(x, &group.name, r))
        .maybe("NextToken", token);
    Ok(x)
}

pub(super) fn tags(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let filters = filters(form, is_tag_filter)?;
    let page = Page::take(form, 50, 100)?;
    form.finish()?;
    let found = asg
        .groups()
        .values()
        .flat_map(|group| group.tags.iter().map(move |(key, tag)| (group, key, tag)))
        .filter(|(group, key, tag)| filters.iter().all(|f| tag_matches(group, key, tag, f)))
        .collect();
    let (found, token) = page.cut(found);
    let mut x = Xml::default();
    x.members("Tags", found, |x, (group, key, tag)| render::tag(x, &group.name, key, tag))
        .maybe("NextToken", token);
    Ok(x)
}
