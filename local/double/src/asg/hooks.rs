//! Lifecycle hooks: configuration, completion, heartbeat.

use super::AutoScaling;
use super::instances::after;
use super::model::{Group, HookResult, HookSpec};
use crate::error::ApiError;

/// AWS's quota.
const HOOKS_PER_GROUP: usize = 50;

/// Whom a hook call is about: the token, the instance, or both.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActionKey {
    pub(crate) hook: String,
    pub(crate) token: Option<String>,
    pub(crate) instance: Option<String>,
}

/// Checks the bounds that AWS documents for a hook.
pub(super) fn check_hook(hook: &HookSpec) -> Result<(), ApiError> {
    if hook.name.is_empty() || hook.name.len() > 255 {
        return Err(ApiError::validation("LifecycleHookName must have 1 to 255 characters"));
    }
    if !(30..=7200).contains(&hook.heartbeat_seconds) {
        return Err(ApiError::validation(format!(
            "HeartbeatTimeout must be between 30 and 7200 seconds, not {}",
            hook.heartbeat_seconds
        )));
    }
    if hook.metadata.as_ref().is_some_and(|m| m.chars().count() > 4000) {
        return Err(ApiError::validation("NotificationMetadata must have at most 4000 characters"));
    }
    Ok(())
}

impl AutoScaling {
    /// `PutLifecycleHook`: a new hook, or changes to one. Waits that are going on keep the hook
    /// they began with.
    pub(crate) fn put_hook(&mut self, group: &str, hook: HookSpec) -> Result<(), ApiError> {
        check_hook(&hook)?;
        let (group, _) = self.group_mut(group)?;
        if group.hooks.len() >= HOOKS_PER_GROUP && !group.hooks.contains_key(&hook.name) {
            return Err(ApiError::new(
                "LimitExceeded",
                format!("A group can have at most {HOOKS_PER_GROUP} lifecycle hooks"),
            ));
        }
        group.hooks.insert(hook.name.clone(), hook);
        Ok(())
    }

    /// `DeleteLifecycleHook`: waits of this hook end as if it had been abandoned for a launch,
    /// continued otherwise.
    pub(crate) fn delete_hook(&mut self, group: &str, hook: &str) -> Result<(), ApiError> {
        let (group, world) = self.group_mut(group)?;
        if group.hooks.remove(hook).is_none() {
            return Err(ApiError::validation(format!("No Lifecycle Hook found with name {hook}")));
        }
        let waiting: Vec<(String, String, HookResult)> = group
            .instances
            .iter()
            .flat_map(|i| i.actions.iter().map(|a| (i.id.clone(), a)))
            .filter(|(_, a)| a.hook.name == hook)
            .map(|(id, a)| {
                let result = match a.hook.direction {
                    super::Direction::Launching => HookResult::Abandon,
                    super::Direction::Terminating => HookResult::Continue,
                };
                (id, a.token.clone(), result)
            })
            .collect();
        for (id, token, result) in waiting {
            group.resolve(&id, &token, result, world);
        }
        group.reconcile(world);
        Ok(())
    }

    /// `CompleteLifecycleAction`
    pub(crate) fn complete_action(
        &mut self,
        group: &str,
        key: &ActionKey,
        result: HookResult,
    ) -> Result<(), ApiError> {
        let (group, world) = self.group_mut(group)?;
        let (id, token) = find_action(group, key)?;
        group.resolve(&id, &token, result, world);
        group.reconcile(world);
        Ok(())
    }

    /// `RecordLifecycleActionHeartbeat`: the timeout starts anew, the global limit stays.
    pub(crate) fn heartbeat(&mut self, group: &str, key: &ActionKey) -> Result<(), ApiError> {
        let (group, world) = self.group_mut(group)?;
        let (id, token) = find_action(group, key)?;
        let now = world.now;
        group.update(&id, |i| {
            for action in i.actions.iter_mut().filter(|a| a.token == token) {
                action.heartbeat_until = after(now, action.hook.heartbeat_seconds);
            }
        });
        Ok(())
    }
}

/// The instance and token of the wait that the caller means.
fn find_action(group: &Group, key: &ActionKey) -> Result<(String, String), ApiError> {
    let missing = || {
        ApiError::validation(match (&key.token, &key.instance) {
            (Some(token), _) => format!("No active Lifecycle Action found with token {token}"),
            (None, Some(id)) => format!("No active Lifecycle Action found with instance ID {id}"),
            (None, None) => {
                "Either LifecycleActionToken or InstanceId must be specified".to_owned()
            }
        })
    };
    if key.token.is_none() && key.instance.is_none() {
        return Err(missing());
    }
    group
        .instances
        .iter()
        .filter(|i| key.instance.as_ref().is_none_or(|id| *id == i.id))
        .flat_map(|i| i.actions.iter().map(move |a| (i, a)))
        .find(|(_, a)| {
            a.hook.name == key.hook && key.token.as_ref().is_none_or(|token| *token == a.token)
        })
        .map(|(i, a)| (i.id.clone(), a.token.clone()))
        .ok_or_else(missing)
}
