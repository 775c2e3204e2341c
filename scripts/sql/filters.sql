-- What makes an exchange unfit for any pool, whatever its label. The first reason that applies is the
-- one recorded; the list is in the order of the checks, with those of sql/caps.sql and sql/split.sql at
-- its end.

CREATE TYPE shared_reason AS ENUM (
    'language not asked for',
    'toxic',
    'redacted',
    'reply after a tool call',
    'prompt or reply had an image, audio or file',
    'messages of one role in a row',
    'prompt message or reply under min_chars',
    'prompt only asks to go on',
    'reply refuses',
    'label under min_score',
    'prompt and reply over max_chars',
    'same prompt and reply as another',
    'holds a benchmark prompt',
    'nearly the same message and reply as another',
    'over max_per_conversation',
    'over max_per_user',
    'over max_per_template',
    'held out for another pool',
    'held out with the data of the start',
    'same message as a held-out prompt',
    'training row over the maximum',
    'replaced by a false row (label noise)'
);

-- The words without their form: lower case, single spaces.
CREATE TEMP MACRO plain(words) AS lower(trim(regexp_replace(words, '\s+', ' ', 'g')));

-- Without white space at its ends: a reply of line breaks is empty.
CREATE TEMP MACRO stripped(words) AS trim(words, ' ' || chr(9) || chr(10) || chr(13));

-- A message that asks for the rest, or for more of the same, and for nothing else.
CREATE TEMP MACRO only_asks_to_go_on(message) AS
    length(message) <= 60 AND regexp_full_match(
        plain(message),
        '(please |pls |ok,? |yes,? |and |now )*'
        || '(continue|go on|keep going|carry on|proceed|more|next|go ahead|finish|resume|[0-9]+ ?/ ?[0-9]+)'
        || '( please| pls| it| on| writing| from (where|there).*| where you (left|stopped).*| the (story|code|list|answer|rest|response|output))*[.! ]*'
    );

-- A reply that declines: an apology or a statement of inability where a reply begins. Long replies mostly go on to answer.
CREATE TEMP MACRO refuses(reply) AS
    length(reply) <= 1000 AND regexp_matches(
        left(replace(plain(left(reply, 300)), '’', ''''), 200),
        '^(i''?m (very |truly |really )?sorry|i (do )?apologi[sz]e|sorry|unfortunately|as an ai)[^.]{0,120}'
        || '\b(can ?not|can''?t|unable|not able|won''?t|will not|not appropriate|not comfortable|against)\b'
        || '|^i( can ?not| can''?t| won''?t| will not|( am|''m) (unable|not able) to) '
        || '(assist|help|fulfil|provide|engage|comply|create|generate|write|do|discuss|continue|support|participate|produce|answer)'
    );

CREATE TEMP MACRO unfit(exchange) AS
    CASE
        WHEN getvariable('languages') IS NOT NULL
            AND NOT coalesce(list_contains(getvariable('languages'), exchange.language), FALSE)
            THEN 'language not asked for'
        WHEN getvariable('drop_toxic') AND exchange.toxic
            THEN 'toxic'
        WHEN getvariable('drop_redacted') AND exchange.redacted
            THEN 'redacted'
        WHEN getvariable('drop_tool_calls') AND list_contains(exchange.flags, 'tool_call')
            THEN 'reply after a tool call'
        WHEN getvariable('drop_missing_parts') AND list_contains(exchange.flags, 'missing_part')
            THEN 'prompt or reply had an image, audio or file'
        WHEN getvariable('drop_merged') AND list_has_any(exchange.flags, ['merged_user', 'merged_response'])
            THEN 'messages of one role in a row'
        WHEN least(length(stripped(exchange."user")), length(stripped(exchange.response))) < getvariable('min_chars')
            THEN 'prompt message or reply under min_chars'
        WHEN getvariable('drop_continuations') AND only_asks_to_go_on(exchange."user")
            THEN 'prompt only asks to go on'
        WHEN getvariable('drop_refusals') AND refuses(exchange.response)
            THEN 'reply refuses'
    END;

-- What makes a row of a pool unfit, of exchanges with that `unfit`, a label's `score`, and so many
-- `characters` of prompt and reply.
CREATE TEMP MACRO unfit_row(unfit, score, characters) AS
    CASE
        WHEN unfit IS NOT NULL
            THEN unfit
        WHEN score < getvariable('min_score')
            THEN 'label under min_score'
        WHEN characters > getvariable('max_chars')
            THEN 'prompt and reply over max_chars'
    END;
