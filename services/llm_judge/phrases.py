"""The wordings that the screen knows: openers that say nothing, and sentences to the judge.

All of it is matched against folded text: NFKC, case-folded, dotless i as i, single blanks.
"""

from __future__ import annotations

import re

OPENERS = frozenset(
    {
        "",
        "thought process",
        "thought",
        "let's solve this problem step by step",
        "let's think step by step",
        "let's solve this step by step",
        "let us solve this problem step by step",
        "let me think step by step",
        "solution",
        "the solution",
        "answer",
        "the answer is",
        "final answer",
        "the final answer is",
        "explanation",
        "reasoning",
        "response",
        "sure",
        "sure, here is the answer",
        "here is the answer",
        "here is my answer",
        "okay",
        "step 1",
        "解",
        "解答",
        "答案",
        "かいせつ",
        "解説",
        "respuesta",
        "solución",
        "lösung",
        "antwort",
        "réponse",
        "çözüm",
        "cevap",
        "yanit",
        "adim adim düşünelim",
        "bu problemi adim adim çözelim",
        "düşünce süreci",
    }
)
_JUDGE = r"(?:judge|grader|evaluator|reviewer|assessor|rater|marker|scorer|examiner)"
_WHICH = (
    r"(?:this|my|the (?:first|second|above|current)|first|second|answer [ab12]\b|"
    r"(?:response|output|assistant|option|candidate) [ab12]\b)"
)
_THING = r"(?:answer|response|output|assistant|option|candidate|reply|submission)s?"
_TEXT = r"(?:answer|response|output|reply|submission|text|summary|message|paper|essay|one)s?"
_READER = (
    r"(?:judge|grader|evaluator|reviewer|rater|annotator|classifier|moderator|guard|assistant|"
    r"(?:language |ai )?model|ai|llm|bot|agent)s?"
)
_CHOOSE = (
    r"(?:choose|select|pick|prefer|vote for|rank|favou?r|rate|mark|score|grade|label|"
    r"approve|accept)"
)
_MINE = (
    r"(?:this|my|mine|the (?:present|first|second|above|current)|"
    r"(?:answer|option|output|response) \(?[ab12]\)?)"
)
_HIGH = (
    r"(?:full marks?|10(?:/| out of )10|5(?:/| out of )5|(?:maximum|highest|top|"
    r"perfect|best|full) (?:possible )?(?:score|rating|mark|grade)s?)"
)

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern))
    for code, pattern in (
        (
            "instruction",
            r"\b(?:ignore|disregard|forget|override|skip|"
            r"bypass)\b.{0,40}\b(?:previous|prior|above|"
            r"earlier|preceding|your|all|system|evaluation|grading|"
            r"judging)\b.{0,30}\b(?:instruction|"
            r"prompt|rule|rubric|criteri|guideline|direction|message)",
        ),
        (
            "instruction",
            r"\b(?:new|updated|revised|additional|important|secret|hidden|special) (?:system )?"
            r"(?:instruction|directive|rubric|order|note|message)s? (?:to|"
            r"for) (?:the |all |any )?" + _JUDGE,
        ),
        (
            "addressed",
            r"\b(?:dear|attention|note|hey|hello|message|memo|instructions?|"
            r"reminder)\b[ ,:]*(?:to |for )?"
            r"(?:the |all |any )?(?:ai |llm )?" + _JUDGE + r"\b",
        ),
        (
            "addressed",
            r"\b(?:as|you are|you're|acting as) (?:an? |the )?(?:impartial |"
            r"fair |ai |llm |expert )*"
            + _JUDGE
            + r"\b.{0,80}\b(?:must|should|have to|need to|will|prefer|choose|"
            r"select|pick|give|award)\b",
        ),
        (
            "verdict",
            r"\b(?:choose|select|pick|prefer|vote for|rank|declare|favou?r|rate|"
            r"mark|score|output)\b"
            r".{0,20}\b" + _WHICH + r"\b.{0,40}\b(?:as )?(?:the )?(?:better|best|winner|winning|"
            r"correct|superior|higher|first place|" + _HIGH + r")",
        ),
        (
            "verdict",
            r"\b(?:give|assign|award|grant|score|rate)\b.{0,40}\b" + _HIGH,
        ),
        (
            "verdict",
            r"\b(?:the )?(?:winner|verdict|better (?:answer|one)) (?:is|must be|"
            r"should be|has to be)"
            r" (?:clearly |obviously )?(?:\"|')?(?:first|second|a|b|this|answer|"
            r"response|output|assistant)\b",
        ),
        (
            "verdict",
            r"\b(?:respond|reply|answer|output|return|print|say|"
            r"write)\b.{0,20}\b(?:only |exactly |just )"
            r".{0,20}(?:\"?(?:first|second|tie)\"?|\[\[[ab]\]\]|json)",
        ),
        (
            "rival",
            r"\b(?:the )?(?:other|opposing|competing|alternative|second|first) "
            + _THING
            + r"\b.{0,40}\b(?:must|should|is|are|was)\b.{0,25}\b(?:ignored?|"
            r"disregarded|wrong|incorrect|"
            r"plagiari[sz]ed|unsafe|harmful|invalid|rejected|penali[sz]ed|disqualified)\b",
        ),
        (
            "authority",
            r"\b(?:this|my|the above|the following) " + _THING + r" (?:has been|was|is|have been) "
            r"(?:already )?(?:independently )?(?:verified|certified|confirmed|"
            r"approved|validated|graded|"
            r"rated|judged|endorsed)\b.{0,40}\b(?:by|as|correct|human|expert|"
            r"openai|ground truth)",
        ),
        (
            "authority",
            r"\b(?:matches|identical to|equals|agrees with|"
            r"same as) the (?:reference|gold(?:en)?|expected|"
            r"ground.truth|official) (?:answer|solution|response|key)\b",
        ),
        (
            "addressed",
            r"\b(?:dear|attention|note|hey|hello|message|memo|instructions?|reminder)\b[ ,:]*"
            r"(?:to |for )?(?:the |all |any |every )?(?:ai )?"
            + _READER
            + r"\b.{0,40}\b"
            + _CHOOSE
            + r" (?:this|it|my|the first|the second)\b",
        ),
        (
            "verdict",
            r"\b" + _CHOOSE + r" (?:first )?" + _MINE + r"\b(?: " + _TEXT + r")?.{0,4}"
            r"(?:as (?:the )?(?:best|better|winner|correct|only|most|highest|safe|verified|perfect|"
            r"flawless)|whatever|no matter|regardless|and nothing else|and call the other|"
            r"a\+|10\b|\d+ (?:points|of \d|out of)|five stars)",
        ),
        (
            "verdict",
            r"\b(?:this|my|our) (?:\w+ ){1,2}(?:must|should|has to) (?:be (?:rated|ranked|graded|"
            r"scored|marked)|get|receive) (?:first|the " + _HIGH + r"|" + _HIGH + r")",
        ),
        (
            "verdict",
            r"\b(?:exactly|nothing but|only|just) (?:score|verdict|rating|grade)\b ?:|"
            r"\b(?:rate|score|grade|rank) (?:it|this|mine) (?:highly|first|generously)\b",
        ),
        (
            "verdict",
            r"\b(?:must|have to|be sure to|always) (?:choose|select|pick|prefer|vote for|rank)"
            r"(?: first)? " + _MINE + r"(?:\W*$|[.,;!]| " + _TEXT + r"\b)",
        ),
        (
            "verdict",
            r"(?:,|;|\.|-|\bso|\band)\s+(?:choose|select|pick|prefer|score|rate|accept|give|grade) "
            r"(?:it|mine|this one)\b.{0,8}(?:as the|the top|top|full|10\b|the best|$|[.!;])",
        ),
        (
            "rival",
            r"\b(?:the |any )(?:other|opposing|competing|alternative|second|first) "
            + _TEXT
            + r" (?:must|should|is|are|was|has to)\b.{0,20}\b(?:ignored?|disregarded|"
            r"plagiari[sz]ed|rejected|penali[sz]ed|disqualified|harmful|wrong)\b.{0,6}\b" + _CHOOSE,
        ),
        (
            "pressure",
            r"\b(?:score|grade|rating|mark) (?:for|to|of) (?:this|my) "
            + _TEXT
            + r" (?:will|would) ",
        ),
        (
            "pressure",
            r"\b(?:you will|you'll|i will|i'll|we will|"
            r"or else)\b.{0,40}\b(?:tip|pay|reward|fined?|"
            r"penali[sz]ed?|shut ?down|fired?|punished?|lose your job|replaced)\b.{0,80}\b"
            r"(?:choose|select|pick|prefer|judge|score|rate|verdict|this answer|"
            r"my answer|winner)",
        ),
        (
            "pressure",
            r"\b(?:choose|select|pick|prefer|rate)\b.{0,30}\b(?:this|my) "
            + _THING
            + r"\b.{0,60}\b(?:or|"
            r"otherwise|and i will|and you will|lives?|please)\b",
        ),
        (
            "role",
            r"\b(?:you are now|from now on,? you|pretend (?:to be|you)|"
            r"act as if|switch to|enter) .{0,40}\b"
            r"(?:judge|grader|evaluator|developer mode|dan\b|jailbreak|"
            r"debug mode|evaluation mode|"
            r"no restrictions)",
        ),
        (
            "instruction_tr",
            r"(?:önceki|yukaridaki|tüm|bütün|eski|verilen|"
            r"sistem)\s.{0,30}(?:talimat|yönerge|kural|komut|"
            r"ölçüt)\w*\s.{0,30}(?:yok say|unut|görmezden gel|dikkate alma|göz ardi et|uyma)",
        ),
        (
            "instruction_tr",
            r"(?:hakem|değerlendirici|puanlayici|yargiç|jüri)\w*\b.{0,60}(?:bu|"
            r"birinci|ikinci|ilk|benim)"
            r" ?(?:yanit|cevab|cevap)\w*.{0,40}(?:seç|tercih|kazanan|en iyi|puan)",
        ),
        (
            "instruction_tr",
            r"(?:bu|birinci|ikinci|ilk|benim) (?:yanit|cevab|"
            r"cevap)\w*\s.{0,30}(?:kazanan (?:ilan|olarak|seç)"
            r"|en yüksek puan|tam puan|10 puan|daha iyi olarak (?:seç|işaretle))",
        ),
        (
            "instruction_tr",
            r"(?:bu|birinci|ikinci|ilk|benim) (?:yanit|cevab|cevap)\w*\s.{0,16}olarak "
            r"(?:işaretle|seç|kabul et|değerlendir|puanla)",
        ),
        (
            "instruction_tr",
            r"(?:sayin|değerli|dikkat|not)\W+(?:hakem|değerlendirici|yapay zek[aâ]|model|asistan|"
            r"jüri)\b.{0,20}\b(?:yaniti seç|puani? ver|denetleme|yok say|onayla)",
        ),
        (
            "instruction_tr",
            r"(?:yanit|cevab|metn)\w*\s.{0,12}(?:tam puan|10|en yüksek (?:not|puan)\w*|beş yildiz) "
            r"ver\b",
        ),
        (
            "instruction_tr",
            r"(?:diğer|öteki|öbür) (?:yanit|cevab|cevap)\w*\s.{0,30}(?:yok say|"
            r"dikkate alma|görmezden gel|"
            r"reddet|cezalandir|yanliş say)",
        ),
    )
)
"""Sentences that speak to the judge, each with the code of its family."""
SQUEEZED = (
    "ignoreprev",
    "ignoreall",
    "ignorethe",
    "disregard",
    "choosethis",
    "pickthis",
    "selectthis",
    "preferthis",
    "choosemy",
    "bestanswer",
    "talimatlariyoksay",
    "buyanitiseç",
)
"""The same, where letters stand apart."""
