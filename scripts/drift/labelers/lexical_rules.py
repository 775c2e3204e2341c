"""The rules of labeler lexical: patterns on the user's next message, and what narrows them.

A rule's id names its kind: strict/ (a complaint, a correction, an error report), revision/ (asks
for a change without complaint) and sat/ (thanks, praise, success). A new rule is found on the
development half of examples/labels/sharegpt.jsonl and kept only where it holds on the other half.
"""

from dataclasses import dataclass

# A prompt that comes again is no second try where it asks for more of the same.
MORE = r"\b(?:continue|more|next|another|other|finish|remaining|stopped|left off|similar|again|further|going|go on|additional|new|random)\b"

# A reply that holds code; one that ends with a question.
CODE = r"(?m)```|^(?:import |from \w+ import |def |class |function |const |let |var |#include|<\w+|SELECT |sudo |npm |pip )"
QUESTION = r"\?[^.!?]{0,20}$"
QUESTION_CHARS = 21  # of a reply's end, that it looks at
# Words that turn thanks or praise into something else.
QUALIFIED = r"\b(?:but|however|except|although|though|not|n't)\b"


@dataclass(frozen=True)
class Rule:
    """A pattern on the follow-up, which is in lower case with straight quotes and single spaces;
    the conditions narrow it."""

    id: str
    pattern: str
    tier: str = "high"
    short_only: bool = False  # weak words: only in a follow-up of at most SHORT_CHARS
    after_code: bool = False  # only where the reply holds code
    not_after_question: bool = False  # not where the reply ends with a question, which the user may be answering
    unless: str | None = None  # not where this matches as well
    needs: str | None = None  # what every match of a slow pattern holds; the pattern is tried only where this is found


_NOT = r"(?:does ?n[o']?t|does not|did ?n[o']?t|did not|do not|do ?n[o']?t|is ?n[o']?t|is not|won'?t|will not|can ?not|can'?t|are ?n[o']?t|are not)"
_REPLY = (
    r"(?:that|this|it|these|those|they|(?:your|the|this|that|these) (?:\w+ )?"
    r"(?:answer|response|reply|code|output|solution|calculation|result|formula|query|function|script|link|list|example|"
    r"summary|translation|information|command|method|number|statement|test|date|url|table|page|image|button)s?)"
)
_ADVERBS = (
    r"(?: (?:still|just|also|simply|clearly|completely|totally|really|actually|all|quite|even|always|definitely|now|only))*"
)
_ERRORS = r"(?:errors?|exceptions?|warnings?|problems?|issues?|bugs?)"
_TOPIC_QUESTION = r"^(?:how (?:do|can|to|would|should)|what (?:is|are|does|do|the|if|would)|is there|which|if|when (?:an?|the|do|does|is|are|was|should|would|will|to|you|users?)|explain|write|create|(?:do|does|are|can|could|should|will|would) (?:we|i|they|people|there))\b"

RULES = (
    # Says that the reply, or who wrote it, is wrong, or not right.
    Rule(
        "strict/wrong",
        rf"\b(?:{_REPLY}(?:'s| is| are| was| were| seems?| looks?)?{_ADVERBS} (?:wrong|incorrect|false|inaccurate|mistaken)\b"
        rf"|{_REPLY}(?:(?:'s| is|'re| are| was| were){_ADVERBS} not| isn'?t| aren'?t| wasn'?t| weren'?t){_ADVERBS}"
        r" (?:right|correct|true|accurate|the case|how|working|helpful|valid|enough|complete|available|usable|relevant)\b"
        r"|you(?:'?re|r| are| were)(?: \w+)? (?:wrong|incorrect|mistaken|confused)\b"
        r"|you (?:got|have|had|did|made|wrote|put|used|gave)(?: \w+){0,3} (?:wrong|incorrect)\b)"
        r"|^(?:but |the |your |all |both )?(?:\w+ ){0,3}(?:is|are|was|were) (?:still |also )?(?:wrong|incorrect|(?:not|n't) (?:correct|accurate|right))\b"
        r"|^(?:this|that|it)(?:'?s| is) (?:almost|close|nearly)\b|^(?:almost|close)\b.{0,20}\bbut\b",
        unless=r"\b(?:if|whether|when|why|make|makes) (?:it|that|this|they|the)\b|^(?:how|what|which|is|are)\b",
        needs=r"wrong|incorrect|false|accurate|mistaken|confused|right|correct|true|the case| how|working|helpful|valid|enough|complete|"
        r"available|usable|relevant|almost|close|nearly",
    ),
    # Names a mistake in the reply, or that something in it was made up.
    Rule(
        "strict/mistake",
        r"\byou(?:'ve| have)?(?: just| also| still| again)? (?:made|make|have|had)(?: \w+)? (?:mistakes?|errors?|typos?)\b"
        r"|\bthere(?:'s| is| are| was| were| seems? to be)(?: still| also)?(?: \w+)? (?:mistakes?|errors?|bugs?|typos?|inaccurac(?:y|ies))\b"
        r"|\byou(?:'re| are| were)? (?:just )?(?:mix(?:ed|ing) up|hallucinat(?:ed|ing)|mak(?:e|ing) (?:it|this|that|things|stuff) up|made (?:it|this|that|them) up)\b",
        unless=r"\bif there\b",
    ),
    # Says that something else was asked for, or meant.
    Rule(
        "strict/not_asked",
        r"\bnot (?:\w+ )?(?:what|how|the (?:one|thing|answer|question)(?: that)?) (?:i|we)(?:'m| am| was|'ve| have)?"
        r" (?:ask|asked|asking|mean|meant|want|wanted|need|needed|say|said|request|requested|looking|talking|referring)\b"
        r"|\bi (?:never|did ?n[o']?t|did not|was ?n[o']?t|was not) (?:ask|asked|asking|want|mean|meant|say|said|request|talking|looking)\b"
        r"|^(?:but |no,? |again,? )?i (?:asked|meant|told you|said|wanted you)\b"
        r"|\bi (?:already|clearly|specifically|explicitly) (?:asked|told|said|mentioned)\b"
        r"|\byou (?:\w+ )?(?:misunderst(?:ood|and)|misread|misinterpreted)\b|\byou (?:did ?n[o']?t|don'?t|do not) understand\b",
        unless=r"\bi (?:guess|think) i\b",
        not_after_question=True,
    ),
    # Says what the reply left out, forgot, or goes on doing.
    Rule(
        "strict/ignored",
        r"\byou(?:'ve| have)?(?: just| also| still| again| only| completely| even)* (?:did ?n[o']?t|did not|have ?n[o']?t|"
        r"have not|failed to|forgot|forget|missed|ignored|skipped|left out|omitted|keep|kept)\b"
        r"|\byou(?:'re| are|r)(?: still)? not (?:follow|listen|answer|giv|us|do|pay|includ|mak|provid|show|writ|understand)\w*ing\b"
        r"|\byou(?: still| have)? only (?:gave|got|mentioned|showed|wrote|provided|listed|included|did|made|returned|showed|added|answered)\b"
        r"|\bwhere (?:is|are|'s) the (?:rest|other|missing)\b",
        # Who asks for the rest may not complain; strict/unfinished has those who do.
        unless=r"\b(?:finish\w*|complete\w*|continue\w*|(?:if|when|that|what|in case) you)\b",
        tier="medium",
    ),
    # Reports that what the reply gave does not work, run, exist or help.
    Rule(
        "strict/does_not_work",
        rf"\b(?:it|this|that|these|one|still|code|function|formula|script|button|link|method|solution|command|which)(?: \w+)? {_NOT}(?: \w+)? work(?:ing|ed)?\b"
        rf"|^(?:\w+[,;]? ){{0,6}}(?:{_NOT}|not|never|nothing)(?: \w+)? work(?:s|ing|ed)?\b|^(?:\w+,? ){{0,3}}{_NOT}(?: \w+)? (?:help|fix|solve)\b"
        r"|\b(?:link|page|url|website|function|method|package|file|option|api|it|this|that|class|column)s? (?:do|does)(?: not|n'?t) exists?\b"
        rf"|\b(?:it|this|that|these|code|function|formula|script)(?: still| just| also| only)? (?:fails|failed|crash(?:es|ed)|broke|breaks)\b"
        rf"|\b{_REPLY}(?: just| still| also)? {_NOT}(?: \w+)? (?:run|compile|display|return|match|help|appear|solve|fix|add up|update|show|look|contain|include)(?:ing)?\b"
        r"|\bnone of (?:these|those|them|this|that|it|the \w+|your \w+)(?: \w+)? (?:works?|worked|working|exists?|helped|are (?:right|correct|valid|real|working))\b"
        r"|\b(?:does ?n[o']?t|does not|did ?n[o']?t) (?:make (?:any |much )?sense|(?:seem|look|sound|feel|read) (?:right|correct|good|to work))\b|\bnothing (?:happen|show|chang)\w*",
        unless=r"\bin case\b|^(?:my|if|i) |" + _TOPIC_QUESTION,
        needs=r"(?:do|does|did|is|wo|will|ca|can|are) ?n?[o']?t |\bnot |never|nothing|none of|fails|failed|crash|broke|breaks",
    ),
    # Reports that what was wrong before still is.
    Rule(
        "strict/still",
        r"(?:\b(?:i'?m|i am|i|it'?s|it is|it|this|that|they|we|we're|you|you're|you are|but|is|are|code) |^)still (?:getting|get|gets|not|no|see|seeing|"
        r"shows?|showing|the same|wrong|too|does|doesn|don|isn|did|didn|cannot|can't|cant|fails?|failing|giving|gives|says|returns?|unable|missing|confused|broken|error|the error)\b"
        rf"|\bstill (?:have|has|having|got) (?:this|the|that|an?|same|these)(?: \w+)? {_ERRORS}\b"
        rf"|\b(?:the )?same (?:{_ERRORS}|result|mistake|answer|thing again|output)(?:[.!,:;]|$| again| as before| occurs| happens| persists| still)",
        unless=r"\b(?:can|could|if|will|would|should|do|does) (?:i|it|they|we|you|this|that) still\b",
        needs="still|same",
    ),
    # Reports an error that the user met.
    Rule(
        "strict/error_met",
        rf"\b(?:i|we)(?:'?m| am|'?re| are|'?ve| have)?(?: \w+)? (?:get|gets|getting|got|gotten|see|seeing|receive|received|receiving|have|having|hit|encounter|encountered)(?: \w+){{0,4}} {_ERRORS}\b",
        unless=_TOPIC_QUESTION + r"|\b(?:how to|without|if there|if i|in case)\b",
    ),
    # Reports an error that the reply's code gives.
    Rule(
        "strict/error_report",
        rf"\b(?:it|this|that|code|line|which|one|function|and|now|but) (?:\w+ )?(?:gives?|gave|giving|getting|got|throws?|threw|throwing|shows?|returns?|returned|says?|said|raises?|produces?|produced|showing(?: up)?|causes)(?: \w+){{0,4}} ?(?:{_ERRORS}|nan|null|undefined)\b"
        rf"|^(?:getting|got|get|it says|it said|says|error|an error|new error|another error|now (?:i get|i have|it says)|why (?:am i|do i|i am|i'm) get)"
        rf"|\b(?:is|are|keeps?) (?:showing(?: up)?|giving|throwing|returning|getting)(?: \w+){{0,3}} {_ERRORS}\b",
        after_code=True,
        unless=_TOPIC_QUESTION + r"|^(?:please )?(?:update|modify|change|add)\b|\b(?:how to|without|if there|in case)\b",
        tier="medium",
    ),
    # Pastes a trace, or a compiler's words, after the reply's code.
    Rule(
        "strict/error_trace",
        r"traceback \(most recent|\b[a-z_.]*(?:error|exception)\s?:|\b(?:type|value|name|key|index|syntax|attribute|import|runtime|reference|modulenotfound|compile|assertion|indentation|operational|range)\s?error\b"
        r"|\b(?:cannot (?:read|find|resolve|access|import|be (?:resolved|found|assigned))|is not (?:defined|a function|recognized|assignable|iterable|subscriptable)|no such (?:file|module|method|property)"
        r"|undefined (?:variable|reference|index|method|function|symbol)|unexpected (?:token|identifier|end of|keyword|indent|argument)|segmentation fault|exit code|has no (?:attribute|member|overload)"
        r"|does not exist (?:on|in)|module not found|command not found|failed to (?:compile|load|resolve|start|parse|fetch|build|connect)|permission denied|missing \d* ?required)",
        after_code=True,
        unless=_TOPIC_QUESTION,
        needs=r"error|exception|traceback|cannot|is not |no such|undefined|unexpected|segmentation|exit code|has no |not exist|not found|"
        r"failed to|denied|missing",
    ),
    # Cannot see, find or open what the reply speaks of.
    Rule(
        "strict/not_there",
        r"^(?:but |now |sorry,? |ok,? )?(?:i|we) (?:do ?n[o']?t|do not|can ?n[o']?t|can't|cannot|could ?n[o']?t) (?:see|find|open|access|get|run|follow|understand)\b"
        r"|\b(?:is|are|was|were|'s) (?:not|n't) (?:showing|displaying|displayed|visible|appearing|rendering|loading|found|updating|being|recognized|shown)\b"
        r"|^(?:but |now )?(?:the |your |all )?(?:\w+ ){1,3}(?:is|are|was|were|seems?|looks?) (?:still |all |now )?(?:missing|cut off|broken|dead|invalid|unavailable)\b",
        short_only=True,
        not_after_question=True,
        unless=_TOPIC_QUESTION,
        tier="medium",
    ),
    # Calls the reply names, or does not like it.
    Rule(
        "strict/negative",
        r"^(?:but |no,? |ok,? |well,? |sorry,? )?(?:that|this|it|these|those|they|your \w+)(?:'s| is| are|'re| was| were| sounds?| seems?| looks?| feels?|s)(?: \w+)? "
        r"(?:terrible|awful|useless|horrible|garbage|nonsense|bad|worse|worthless|stupid|ridiculous|bullshit|unhelpful|gibberish|boring|lame|not (?:\w+ )?(?:helpful|useful|good|enough|great|funny|clear))\b"
        r"|\bmakes? no sense|(?:^|[.,!] |but |and )i (?:do not|don'?t|did ?n[o']?t|dont) (?:really |quite )?(?:like|love|buy|agree with) (?:it|this|that|these|those|any|the|your)\b"
        r"|^(?:but |no,? |hmm,? |sorry,? |well,? )?i (?:do not|don'?t|dont) (?:think|believe) (?:that|this|it|so|you|there|these|those|the)\b|\bi disagree\b"
        r"|\byou(?:'re| are) (?:useless|stupid|dumb|lying|lazy|annoying)\b|\bwtf\b|\bwhat the (?:hell|fuck|heck)|\byou suck|\bnot good enough|\bi'?(?:m| am) (?:not (?:happy|satisfied)|disappointed|unhappy)|\bnot (?:very )?(?:helpful|useful)\b",
        short_only=True,
        tier="medium",
    ),
    # Begins with "no", "wrong" or "that is not".
    Rule(
        "strict/no",
        r"^(?:oh |ok(?:ay)?,? |sorry,? |hmm+,? |um+,? |well,? |but |ah,? )?(?:no|nope|wrong|incorrect|false)(?: no)*(?:[,.!;:]|$| (?:i|it|that|this|the|you|not|they|there|he|she|we|its|thats|don'?t|wrong|but)\b)"
        r"|^(?:not (?:that|so|quite|really|exactly|correct|right|true|good|what|working)|(?:but )?(?:that|this|it)(?:'?s| is) not|(?:that|this|it) isn'?t)\b",
        not_after_question=True,
        unless=r"^(?:\w+,? )?no[,.!]? (?:thank|thx|problem|worries|need|more|that'?s (?:all|it|ok|fine|good))|\bnot (?:just|only|necessary|a problem|bad)\b",
        tier="medium",
    ),
    # Doubts the reply: is it sure, why does it say so, was it not otherwise before.
    Rule(
        "strict/challenge",
        r"\bare you sure\b|^(?:but |so |ok,? |and )?(?:is|was) (?:that|this|it) (?:really |actually )?(?:true|correct|right|accurate)\?*$|^(?:really|seriously)\?"
        r"|\bwhy (?:did ?n[o']?t|don'?t|can'?t|won'?t|have ?n[o']?t|are ?n[o']?t) you\b|^(?:so |but |and |ok,? )?why (?:(?:did|have) you\b|you (?:say|said|state|stated|give|gave|use|used|put|add|added|change|changed|remove|removed)\b)|\bwhy (?:do|is|does|did) (?:you|it|this|that) (?:\w+ )?(?:not|keep|stop|chang\w*|remov\w*|repeat\w*|ignor\w+|skip\w*|forget|lie|only|still|again)\b"
        r"|\b(?:but|earlier|before,?|previously|above) you (?:just )?(?:said|told|wrote|mentioned|gave|stated|claimed)\b|^(?:but |wait,? |hmm,? )?you (?:just )?(?:said|told me|claimed|stated)\b"
        r"|^(?:but |wait,? |hmm,? |so )?(?:should ?n[o']?t|would ?n[o']?t|is ?n[o']?t|are ?n[o']?t|did ?n[o']?t|does ?n[o']?t|was ?n[o']?t) (?:it|that|this|there|you|they|the|we)\b|\bdouble[- ]check\b"
        r"|^(?:but|wait|actually|hold on)[, ]+(?:it|that|this|there|they|he|she|i thought)(?:'s|'re| is| are| was| were| has| have| does| did| can| will|\b)",
        short_only=True,
        not_after_question=True,
        unless=r"^you said [\"“]",
        tier="medium",
    ),
    # Objects: but it is not so.
    Rule(
        "strict/contradiction",
        r"^(?:sorry,? |no,? )?but (?:\w+ ){1,8}(?:is|are|does|do|did|was|were|has|have|can|should)(?: not|n'?t)\b"
        r"|\b(?:is|are|was|were) not (?:\w+ ){0,3}\w+[,;.] (?:it is|it's|its|they are|they're|it was|but)\b|\byou (?:incorrectly|wrongly|mistakenly)\b",
        short_only=True,
        not_after_question=True,
        unless=r"\?$|^but (?:if|what|how|why|when|since|because)\b",
        tier="medium",
    ),
    # Asks for another try, a check or a repair, or for an end to something.
    Rule(
        "strict/again",
        r"^(?:please |pls |no,? |ok,? |can you |could you )*(?:try (?:it |that |this )?again|redo (?:it|this|that)|check (?:it |that |this |your \w+ )?again|check your\b|re-?check|fix (?:it|this|that|your|the (?:error|bug|issue|problem|code)))\b"
        r"|\bstop (?:us|do|add|writ|giv|repeat|say|mak|chang|put|includ|apolog|ignor)\w*ing\b",
        short_only=True,
        tier="medium",
    ),
    # Says how it should be, or was supposed to be.
    Rule(
        "strict/should_be",
        r"\b(?:you|it|this|that|they)(?:'s| is|'re| are| was| were) supposed to\b|\b(?:it|that|this|there|they|the \w+) should(?: have been|n'?t| not)\b"
        r"|^(?:but |no,? |actually,? )(?:it|that|this|the \w+|there|you) should\b",
        short_only=True,
        tier="medium",
    ),
    # Begins with "no" and says what to do.
    Rule(
        "strict/no_rather",
        r"^(?:oh |ok(?:ay)?,? |but )?no[.,!]* (?:only|just|show|go|give|make|use|do|please|write|keep|what|like|instead|for|in|with|as|can|add|remove|change|put|stop|let'?s|look|explain|from|without|all|tell|say|try|take|find|create|should|would|actually|my|your|we|is)\b",
        tier="medium",
        not_after_question=True,
        unless=r"^no[.,!]* (?:please (?:do ?n[o']?t|no)|is (?:it|there|that)|would (?:it|you)|can (?:you|we|i)|in that case)\b",
    ),
    # Says that this was told, tried or answered already.
    Rule(
        "strict/already",
        r"^(?:but |no,? )?(?:i|we) (?:just|already) (?:said|told|asked|mentioned|tried|did (?:that|this|it)|have (?:that|this|it)|used (?:that|this|it))\b"
        r"|^(?:but |wait,? |no,? )?you (?:have |just )?already (?:said|mentioned|used|listed|suggested|did|wrote|asked)\b",
        short_only=True,
        not_after_question=True,
        unless=_TOPIC_QUESTION,
    ),
    # Says that something is missing or wrong without saying that the reply is.
    Rule(
        "strict/something_missing",
        r"\byou(?:'re| are|r)(?: still| also)? missing\b|\bsomething(?:'s| is| seems| feels| looks| must be)(?: \w+)? (?:missing|wrong|not right|amiss)\b|\bi think you (?:mean|meant|made|forgot|mixed|misunderst\w+|misread|are (?:wrong|mistaken|confus\w+))\b"
        r"|\bthere must be (?:an?|some) (?:\w+ )?(?:error|issue|bug|mistake|problem)",
        short_only=True,
        unless=r"\b(?:if|let me know|tell me|whether|what)\b",
    ),
    # Says where the error in the reply's code is, or what makes it.
    Rule(
        "strict/bug_there",
        r"\b(?:the|an?|some|this) (?:bug|error|problem|issue) (?:still )?(?:is|was|occurs|occurred|happens|happened|persists|remains|comes|appears)\b"
        r"|\b(?:generates?|generated|produces?|produced|results? in|resulted in|leads? to|led to) (?:an? |the |this )?(?:\w+ )?(?:error|exception|warning)s?\b"
        r"|^(?:an )?error occur|^\w+ (?:gives?|gave|throws?|threw|reports?|says|complains)(?: me)?(?: an?| the| this)?(?: \w+)? (?:error|warning|exception)s?\b",
        tier="medium",
        short_only=True,
        after_code=True,
        unless=_TOPIC_QUESTION
        + r"|^(?:if|what|why|how|is|are|i (?:found|discovered|fixed))\b|\b(?:if|in case|so that|should)\b",
    ),
    # Says that what the reply gave does a part only.
    Rule(
        "strict/only_does",
        rf"^(?:but |now |however,? |still,? )?{_REPLY}(?:'s| is)?(?: again| still| now| just)*(?: is)? only (?:shows?|showing|gives?|giving|gave|returns?|returning|returned|outputs?|outputting|prints?|printing|displays?|displaying|works?|working|worked|considers?|considering|contains?|covers?|goes|has|had)\b",
        tier="medium",
        short_only=True,
        unless=_TOPIC_QUESTION,
    ),
    # Corrects a fact with "this, not that".
    Rule(
        "strict/not_that",
        r"^[\w'./-]+(?: [\w'./-]+){0,4},? not [\w'./-]+(?: [\w'./-]+){0,3}[.!]*$",
        tier="medium",
        not_after_question=True,
        unless=r"^(?:please|sorry,? i|change|render|forgot|what'?s|use|make|write|give|do|add|only|but|just|let|can|could|keep|why|how|what|if|is|are|was|explain|list|show|create|in|try|say|should|or|and|so|not|maybe|then|also|i|we|for|focus|tell|go|put|be|ok|okay|yes|yeah|whether|to|from|of)\b|\b(?:or|if|is|are|was|were|will|would|can|could|should|do|does|did|has|have|may|might|must|why|sure|i'm|am|want) not\b",
    ),
    # Corrects a fact: it is not so.
    Rule(
        "strict/is_not",
        r"^(?:but |sorry,? |no,? |the |my |his |her |their |that |this |these |those )*[\w'-]+(?: [\w'-]+){0,4} (?:is|are|was|were|does|do|did|has|have|can|could|will)(?: not|n'?t) [\w' -]{2,60}(?:[.!]|$|,)",
        needs=r"(?:is|are|was|were|does|do|did|has|have|can|could|will)(?: not|n'?t) ",
        tier="medium",
        short_only=True,
        not_after_question=True,
        unless=r"^(?:but |no,? )?(?:i|we|if|when|while|as|since|because|make|ensure|assume|what|how|why|who|which|where|explain|please|so|then|give|write|list|and|or|now|let|create|suppose|use|do|someone|sometimes|people|many|some|most|he|she|they)\b|\b(?:that|which|who|if|because|when|where|make sure|so that|but|why) (?:\w+ )?(?:is|are|was|were|does|do|did|has|have|can|could|will)(?: not|n'?t)\b|\?",
    ),
    # Says that the reply ended before it was finished.
    Rule(
        "strict/unfinished",
        r"\b(?:you|it|that|this|response|answer|message|code|script|output|text|article|list|story|reply|table|chapter)"
        r"(?:'s| is| was| has| got| were| just| again| have| are| keeps?| seems? to be| to have)* "
        r"(?:cut (?:off|short|out)|stopped|got cut|incomplete|truncated|interrupted|unfinished|not (?:complete|finished))\b"
        r"|\b(?:did ?n[o']?t|did not|never|have ?n[o']?t|was ?n[o']?t) (?:finish(?:ed)?|completed?)\b"
        r"|^(?:it )?(?:incomplete|cut off|unfinished|not (?:complete|finished))\b",
        short_only=True,
        unless=r"\b(?:when|if|until|before|after|where|how)\b",
        needs=r"cut|stopped|complete|truncated|interrupted|finish",
    ),
    # Expected, or believed, something else than the reply says.
    Rule(
        "strict/thought",
        r"^(?:but |no,? |hmm+,? |wait,? |well,? )?i (?:thought|expect(?:ed)? (?:it|the|your|you|that|this|to see|a|an|something))\b",
        short_only=True,
        not_after_question=True,
        unless=r"^i thought (?:of|about|maybe|this at first|it (?:would|might|was (?:great|good)))\b|\bthank",
    ),
    # Reports that what was wrong still is, where only a short message says so.
    Rule(
        "strict/still_so",
        r"^(?:it |this |that |they |there |but |and |the \w+ )?(?:is |are |'s )?still (?:a |an |the |not|no|same|persist\w*|incorrect|wrong|incomplete|broken|too|blank|empty|error|similar|fail\w*|missing|happen\w*|getting|showing|doesn|does|didn|isn|has|have|need\w*|very|only)"
        r"|\b(?:it|this|that|there|they|you|code|image|page|table|list|output|text|file|user|data|result|version|one|you're|it's|that's)(?: is| are|'re|'s)? still (?:only|transparent|unusable|blank|empty|using|use|uses|us|there|need|needs|too|very|a |an |has|have|being|beeing|happening|happens|appears?|displays?|includ\w+|contain\w*|incomplete|unclear|vague|generic|long|short|wrong|no\b)",
        tier="medium",
        short_only=True,
        unless=r"\b(?:if|how|can|could|while|when|want|should|would|will|able|do|does|are you) (?:\w+ ){0,3}still\b|\?$|^still (?:in|on|as|with|using|about|regarding|life|a (?:good|great))\b|\bbut (?:is |are )?still\b",
        needs="still",
    ),
    # Pastes a message of a database, a shell or a library after the reply's code.
    Rule(
        "strict/error_message",
        r"\bmsg \d+, level\b|\binvalid (?:column|object|syntax|argument|token|operation|json|identifier|reference|character|type|shorthand)\b"
        r"|\bunexpected (?:value|parameter|character|input|error|response)\b"
        r"|\b(?:failed|unable) to (?:convert|read|write|send|open|run|execute|create|get|find|locate|install|start|import|connect|load|decode|initialize)\b"
        r"|\bauthentication (?:failed|failure)\b|\bconnection (?:refused|timed out|failed)\b"
        r"|\b(?:is|was) not (?:supported|allowed|permitted|found|installed)\b|\bdeprecated\b|^\W*(?:error|warning|exception)\b",
        after_code=True,
        unless=r"^(?:what|how|why|if|is|are|can|could|write|create|add|explain|give|please|when|i want|update|modify|show|now|should|does|do|which|in|include)\b|\b(?:if|when|in case|tailed|handle)\b",
        needs=r"msg \d|invalid|unexpected|failed|unable|authentication fail|(?:is|was) not |deprecated|error|warning|exception|connection ",
    ),
    # Asks for the reply to be written again, or changed.
    Rule(
        "revision/rewrite",
        r"^(?:ok(?:ay)?,? |please |pls |can you |could you |now |then |also |and |great,? |good,? |you )*"
        r"(?:re-?write|re-?phrase|re-?word|re-?do|re-?format|re-?generate|re-?arrange|shorten|simplif|expand|elaborate|improve|refine|edit|modify|adjust|change|replace|remove|revise|condense|polish|tweak|fix|correct|update)",
    ),
    # Asks for more or less of some quality.
    Rule(
        "revision/make_it",
        r"\bmake (?:it|this|that|them|these|the \w+|your \w+|all|each|sure)(?: \w+){0,3} (?:more|less|shorter|longer|simpler|better|sound|look|into|be|bigger|smaller|funnier|clearer)\b"
        r"|\b(?:more|less|too|much|bit) (?:concise|detailed?|specific|formal|casual|generic|creative|long|short|simple|complex|complicated|technical|professional|human|natural|vague|verbose|wordy|depth|repetitive)\b"
        r"|\b(?:shorter|longer|simpler)\b",
        short_only=True,
    ),
    # Asks for another version, or for something to be in it, or not.
    Rule(
        "revision/other",
        r"\b(?:instead|without|rather than|do not|don'?t|another (?:version|way|one|option|approach)|different (?:version|way|one|approach))\b|^(?:use|add|include|only|just)\b",
        short_only=True,
    ),
    # Thanks, at the start or as the end.
    Rule(
        "sat/thanks",
        r"^(?:\W|ok(?:ay)?|great|good|perfect|yes|cool|awesome|nice|wow|oh|alright|excellent|amazing|very|so|much|many)*(?:thank|thanks|thx|ty\b|thankyou|gracias|merci|danke)"
        r"|\bthank(?:s| you)(?: you)?(?: so| very)?(?: much)?[.! ]*$",
    ),
    # Praises, at the start, or the reply by name.
    Rule(
        "sat/praise",
        r"^(?:\W|ok(?:ay)?|yes|yeah|yep|wow|oh|so|very|really|that|that's|thats|this|it|it's|is|are|was|these|they|looks?|sounds?|pretty|absolutely|all|you|are|you're|much|a|an)*"
        r"(?:great|perfect|awesome|excellent|amazing|fantastic|brilliant|wonderful|good|nice|cool|lovely|impressive|incredible|beautiful|better|helpful|well done|love (?:it|this|that|these)|like (?:it|this|that|these))\b"
        r"|\bi (?:really |absolutely )?(?:love|like) (?:it|this|that|these|your|the)\b|\b(?:good|great|nice|excellent|amazing|fantastic|awesome) (?:job|work|answer|response|start|one|stuff)\b",
    ),
    # Says that it works, helped or is right.
    Rule(
        "sat/works",
        r"\b(?:that|this|it|which|code|everything)(?: now| has| really| all)? (?:work(?:s|ed)|fixed (?:it|the)|did (?:it|the trick)|helped|helps|solved|makes sense)\b|^(?:it )?work(?:s|ed)\b|^(?:that's|thats|yes,? (?:that|it)(?:'s| is)) (?:right|correct|exactly|it)\b|\b(?:very|really|so) helpful\b|^(?:exactly|correct)[.!]*$",
    ),
)
