/*
 * group.c - the lists and conditions that a set saves under a name.
 *
 *     "vip": ["7", "9"]
 *     "vip": {"type": "list", "attributeKey": "id", "values": ["7", "9"]}
 *     "vip": {"type": "condition", "condition": {…}}
 *
 * $inGroup and $notInGroup take the values of the first two; {"$savedGroup":
 * {"id": "vip"}} takes the last two.  Conditions may name groups in turn; one
 * that comes back to itself matches nobody, and what is of an unknown form
 * neither.
 */

#include "set.h"


json_t *
personalize_group_values(json_t *group)
{
    const char *type;
    json_t     *values;

    if (json_is_array(group)) {
        return group;
    }

    type = json_string_value(json_object_get(group, "type"));
    values = json_object_get(group, "values");

    return type != NULL && strcmp(type, "list") == 0 && json_is_array(values)
               ? values
               : NULL;
}


int
personalize_group_find(const personalize_compiler_t *c, const json_t *reference,
    personalize_group_t *group)
{
    unsigned    i;
    json_t     *found, *id;
    const char *type;

    memset(group, 0, sizeof(personalize_group_t));
    id = json_object_get(reference, "id");
    group->attribute = json_object_get(reference, "attributeKey");

    if (!json_is_string(id)
        || (group->attribute != NULL && !json_is_string(group->attribute)))
    {
        return 0;
    }

    group->id = json_string_value(id);

    for (i = 0; i < c->nvisited; i++) {
        if (strcmp(c->visited[i], group->id) == 0) {
            return 0;
        }
    }

    found = json_object_get(c->groups, group->id);
    type = json_string_value(json_object_get(found, "type"));

    if (type != NULL && strcmp(type, "condition") == 0) {
        group->condition = json_object_get(found, "condition");
        return json_is_object(group->condition);
    }

    if (group->attribute == NULL) {
        group->attribute = json_object_get(found, "attributeKey");
    }

    group->values =
        json_is_object(found) ? personalize_group_values(found) : NULL;

    return group->values != NULL && json_is_string(group->attribute);
}
